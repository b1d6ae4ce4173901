// Removes structures for good: the result has smaller matrices and no masks.
//
// The names of what stays are kept, so that a graph can be shrunk again. A structure that loses all its units goes
// with everything that only it read; what it added to the residual is then constant, and stays as an affine of scale
// one in place of the addition. The affine that stands for an attention is called after it with kRemovedAttention at
// the end, so that its block is still found (graph/blocks.h).
//
// Exact: the shrunk graph computes what the graph would with zeros in the consumer's columns of the removed units.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

struct Kept {
  std::string structure;       // name of a Structure (passes/structures.h)
  std::vector<int64_t> units;  // rising; empty: the whole sub-layer goes, its bias stays
  // Takes the place of what is left of the consumer's weight, [outputs, units.size() * unit_width], float: weights
  // updated to make up for what is gone. Not with empty `units`.
  std::optional<Tensor> consumer_weight;
};

// Structures that are not listed stay whole. Weights keep type and layout, `consumer_weight` its own type.
// kInvalidArgument: no such structure, one named twice, units that do not rise or are not there, a weight of another
// shape. kUnsupported: weights that are not float, a structure that cannot go as a whole.
Result<Graph> Shrink(const Graph& graph, std::span<const Kept> kept);

}  // namespace thimble
