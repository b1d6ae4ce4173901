// Takes heads and columns out of a graph: the matrices get smaller, no mask is left.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/passes/structures.h"

namespace thimble {

struct Kept {
  std::string structure;       // its name
  std::vector<int64_t> units;  // that stay, rising; empty: the whole sub-layer goes, and its bias stays
  // [outputs, units x unit_width], what the consumer multiplies the units that stay with; none: its own columns.
  std::optional<Tensor> consumer_weight;
};

// Structures that are not named stay whole. The result's structures have the same names, so that it can be shrunk
// again. kInvalidArgument: a structure that is not there, units that are not; kUnsupported: weights that are not
// float32, a sub-layer without a residual that would go as a whole.
Result<Graph> Shrink(const Graph& graph, std::span<const Kept> kept);

}  // namespace thimble
