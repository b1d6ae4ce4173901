// What structured pruning can take out of a graph, found from the graph alone: attention heads, and columns between
// the two linears of a feed-forward network.
//
//   heads    linear (q), linear (k), linear (v) -> attention -> elementwise* -> linear (consumer)
//   columns  linear -> elementwise*, an activation among them -> linear (consumer)
//
// where elementwise is an activation or an affine, and each value on the way is read once. To remove a unit is to
// remove rows of the producers and columns of the consumer; the width of whatever stands around stays. Only the body is
// searched, that is what "last_hidden_state" depends on; a head (pooler, classifier) is left alone. Two linears
// without an activation between them are the factors of one matrix: their width is a rank, and no structure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "thimble/graph/graph.h"

namespace thimble {

enum class StructureKind : uint8_t { kHeads, kColumns };

// Nodes are indices into Graph::nodes.
struct Structure {
  StructureKind kind = StructureKind::kColumns;
  // The attention, or the first linear of the feed-forward; unique, and the same after Shrink.
  std::string name;
  // Nodes whose outputs go with the units: the linears of q, k and v, or the first of the feed-forward.
  std::vector<size_t> producers;
  // The linear whose input columns go: unit i has columns [i * unit_width, (i + 1) * unit_width).
  size_t consumer = 0;
  int64_t units = 0, unit_width = 1;
  // Whether all units can go: the consumer is read by a residual addition alone, which then adds its bias.
  bool removable = false;
  // The same structure in other places of the graph, where layers share their weights (ALBERT): it is cut in all of
  // them alike, so that they still do. Calibration sees the inputs of all consumers.
  struct Place {
    std::vector<size_t> producers;
    size_t consumer = 0;
  };
  std::vector<Place> tied;
};

// In execution order (of the first places).
std::vector<Structure> FindStructures(const Graph& graph);

// The elementwise nodes that a consumer reads through, from it back to the producer or attention.
std::vector<size_t> NodesBetween(const Graph& graph, size_t consumer);

// What looks like a structure of the body but cannot be cut, each with the reason in words, in execution order.
struct FixedStructure {
  std::string name;    // as of Structure
  std::string reason;  // "its queries come from an add, not a linear", ...
};
std::vector<FixedStructure> FindFixedStructures(const Graph& graph);

}  // namespace thimble
