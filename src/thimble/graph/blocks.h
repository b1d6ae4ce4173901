// The blocks of a transformer, found from the structure of its graph and not from names.
//
// Each attention begins a block, and so does what pruning leaves of one (kRemovedAttention). Between two attentions there are values through which everything flows: only
// they are read by what follows. The last such value before an attention is the hidden state that its block reads
// (the residual stream, in pre-norm models too).
#pragma once

#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

// How the name of the affine ends that stands in place of an attention that was pruned with all of its heads
// (passes/shrink.h): what the attention added to the residual, its bias, is constant.
inline constexpr std::string_view kRemovedAttention = ".removed";

// Whether the node is an attention or stands in place of one.
bool BeginsBlock(const Node& node);

struct Blocks {
  // hidden[0] is what the first block reads (the embeddings), hidden[i + 1] what block i gives; one more than
  // there are attentions. All have one row per token.
  std::vector<ValueId> hidden;
  // Indices into graph.nodes of what begins the blocks, in order; an affine where the attention was removed.
  std::vector<size_t> attention;
};

// kUnsupported: a graph without "last_hidden_state", without attention, or with blocks that overlap.
Result<Blocks> FindBlocks(const Graph& graph);

}  // namespace thimble
