// Quantizes matrices with one scale per group of inputs of a row: the weight-only types, int4 and int8, whose products
// are those of floats. What becomes so is what weights_to_int8 converts.
//
// Codes are symmetric, in [-L, L] with L = 7 or 127. A group with largest magnitude m is rounded at the scales
// c m / L for a few clips c <= 1, which cut its largest values off to round the others more finely; for the codes q of
// each the scale is refitted to the least squared error,
//
//   s = <w, q> / <q, q>,   |w - s q|^2 = |w|^2 - <w, q>^2 / <q, q>
//
// and the best of them is taken, c = 1 where they are equal. Weights that are quantized already, s q, keep their codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

struct GroupType {
  DType dtype = DType::kI4Group;  // or kI8Group
  size_t group = 32;              // inputs that share a scale: kScaleGroups of graph/tensor.h
};

// Writes the codes of one group, 7 or 127 the largest, and returns their scale: 0 for a group of zeros, NaN if a value
// is not finite.
float QuantizeGroup(std::span<const float> values, int largest_code, int8_t* codes);

// Row-major. Values that are not finite are an error. A tensor of that type stays as it is.
Result<Tensor> ToGroups(const Tensor& tensor, const GroupType& type);

// Converts those for which `chosen` says so, of the nodes that BecomesInt8.
Result<Graph> WeightsByGroupWhere(const Graph& graph, const GroupType& type,
                                  const std::function<bool(const Node&)>& chosen);

// All of them; tables that are not indexed by token ids become float16.
Result<Graph> WeightsByGroup(const Graph& graph, const GroupType& type);

}  // namespace thimble
