// The blocks of a transformer, found from the structure of its graph and not from names.
//
// Each attention begins a block. Between two attentions there are values through which everything flows: only
// they are read by what follows. The last such value before an attention is the hidden state that its block reads
// (the residual stream, in pre-norm models too).
#pragma once

#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

struct Blocks {
  // hidden[0] is what the first block reads (the embeddings), hidden[i + 1] what block i gives; one more than
  // there are attentions. All have one row per token.
  std::vector<ValueId> hidden;
  std::vector<size_t> attention;  // indices into graph.nodes, in order
};

// kUnsupported: a graph without "last_hidden_state", without attention, or with blocks that overlap.
Result<Blocks> FindBlocks(const Graph& graph);

}  // namespace thimble
