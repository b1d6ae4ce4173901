// A rewrite that every plan starts from: computes only what the wanted outputs need.
//
// A classifier reads one token per sequence. Everything after the last attention is row by row, so it
// can run on the first tokens alone, and the last attention needs one query per sequence: for an
// n-layer model that saves most of one layer in n. Results are the same bits, because rows do not
// depend on each other. Nodes that no wanted output needs disappear.
#pragma once

#include <span>
#include <string_view>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

// `outputs` are names of graph outputs; the result has exactly these, in that order.
// An unknown name is kInvalidArgument and lists those that exist.
Result<Graph> SinkPooling(const Graph& graph, std::span<const std::string_view> outputs);

}  // namespace thimble
