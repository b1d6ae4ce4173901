// The pass weights_to_int8, for some of the nodes that it would convert.
#pragma once

#include <functional>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

// Row-major, symmetric, one scale per row: max|w| / 127. Values that are not finite are an error.
Result<Tensor> ToInt8(const Tensor& tensor);

// Whether WeightsToInt8 makes the node's weight int8: a linear that is no small classifier, the table of words.
bool BecomesInt8(const Graph& graph, const Node& node);

// Converts those for which `chosen` says so; all else, positions and token types too, stays as it is.
Result<Graph> WeightsToInt8Where(const Graph& graph,
                                 const std::function<bool(const Node&)>& chosen);

// Tables that are not indexed by token ids, positions and token types, as float16; quantized ones stay.
Result<Graph> OtherTablesToHalf(const Graph& graph);

}  // namespace thimble
