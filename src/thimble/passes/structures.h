// The structures of a transformer that can be made smaller without changing what stands around them: attention heads,
// and columns of a feed-forward pair. They are found from the graph and not from names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "thimble/graph/graph.h"

namespace thimble {

enum class StructureKind : uint8_t {
  kHeads,    // of an attention
  kColumns,  // hidden units between two linears
};

struct Structure {
  StructureKind kind;
  std::string name;  // of the attention, or of the first linear; unique, and kept by Shrink
  // Nodes: the linears whose output rows go with a unit (query, key and value, or the first of the pair), and what
  // lies between them and the consumer elementwise.
  std::vector<size_t> producers;
  std::vector<size_t> between;
  std::optional<size_t> attention;  // kHeads: the node
  size_t consumer;                  // node: the linear whose input columns go
  // Heads, or columns; a unit is `unit_width` neighbouring input columns of the consumer.
  int64_t units, unit_width;
  // The node that adds what the consumer gives to a residual. Where there is none, one unit has to stay.
  std::optional<size_t> residual;
};

// In execution order. MobileBERT's four feed-forward pairs of a block are four structures. Left out: heads of tasks
// (whatever "last_hidden_state" does not need), values with a second reader (a low-rank adapter beside them is one),
// and linears whose weights another node shares (ALBERT's layers): a cut there would be a cut elsewhere.
std::vector<Structure> FindStructures(const Graph& graph);

}  // namespace thimble
