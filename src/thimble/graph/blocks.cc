#include "thimble/graph/blocks.h"

#include <string>

namespace thimble {
namespace {

bool IsFloat(const Graph& graph, ValueId id) {
  return graph.value(id).type.element == Element::kFloat32;
}

}  // namespace

bool BeginsBlock(const Node& node) {
  return node.op == OpKind::kAttention ||
         (node.op == OpKind::kAffine && node.name.ends_with(kRemovedAttention));
}

Result<Blocks> FindBlocks(const Graph& graph) {
  const GraphOutput* last = graph.FindOutput("last_hidden_state");
  if (last == nullptr) return Unsupported("the model does not give its last hidden state");
  const std::vector<bool> needed = NeededNodes(graph, {&last->value, 1});

  // Where each value is read for the last time. The end of the graph reads the last hidden state.
  std::vector<size_t> last_use(graph.values.size(), 0);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!needed[i]) continue;
    for (const ValueId input : graph.nodes[i].inputs) last_use[Index(input)] = i;
  }
  last_use[Index(last->value)] = graph.nodes.size();

  Blocks blocks;
  std::vector<ValueId> live;
  ValueId cut = kNoValue;  // the last value through which everything flowed
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!needed[i]) continue;
    const Node& node = graph.nodes[i];
    if (BeginsBlock(node)) {
      if (cut == kNoValue) {
        return Unsupported("no single value leads into block " +
                           std::to_string(blocks.attention.size()) + " (" + node.name + ")");
      }
      blocks.hidden.push_back(cut);
      blocks.attention.push_back(i);
      cut = kNoValue;
    }
    std::erase_if(live, [&](ValueId id) { return last_use[Index(id)] <= i; });
    if (IsFloat(graph, node.output)) live.push_back(node.output);
    if (live.size() == 1 && graph.value(live[0]).type.rows == Rows::kTokens) cut = live[0];
  }
  if (blocks.attention.empty())
    return Unsupported("the model has no attention, so it has no blocks");
  blocks.hidden.push_back(last->value);
  return blocks;
}

}  // namespace thimble
