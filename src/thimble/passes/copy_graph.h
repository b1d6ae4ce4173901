// Rebuilds a graph node by node, for passes that add, change or leave out some of them: shape rules run again over
// what changed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

class GraphCopier {
 public:
  // `from` and `to` must outlive the copier. The inputs of `from` become those of `to`.
  GraphCopier(const Graph& from, Builder& to) : from_(from), to_(to) {
    copies_.assign(from.values.size(), kNoValue);
    for (const ValueId id : from.inputs) copies_[Index(id)] = to.Input(from.value(id).name);
  }

  // What a value of `from` is in `to`; kNoValue before its node was copied. Passes may point it elsewhere.
  ValueId& operator[](ValueId id) { return copies_[Index(id)]; }

  // Adds a node as it is, or with other weights.
  ValueId Copy(const Node& node) { return Copy(node, node.weights); }
  ValueId Copy(const Node& node, std::vector<Weight> weights) {
    std::vector<ValueId> inputs;
    for (const ValueId id : node.inputs) inputs.push_back(copies_[Index(id)]);
    return copies_[Index(node.output)] =
               to_.Add(node.op, node.name, std::move(inputs), std::move(weights), node.attrs);
  }

  // Declares the outputs of `from`.
  void Outputs() {
    for (const GraphOutput& output : from_.outputs) {
      to_.Output(output.name, copies_[Index(output.value)]);
    }
  }

 private:
  const Graph& from_;
  Builder& to_;
  std::vector<ValueId> copies_;
};

// Without the nodes that no output needs.
inline Result<Graph> OnlyNeeded(const Graph& graph) {
  std::vector<ValueId> outputs;
  for (const GraphOutput& output : graph.outputs) outputs.push_back(output.value);
  const std::vector<bool> needed = NeededNodes(graph, outputs);
  Builder builder;
  GraphCopier copy(graph, builder);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (needed[i]) copy.Copy(graph.nodes[i]);
  }
  copy.Outputs();
  return std::move(builder).Finish(graph.max_sequence_length);
}

}  // namespace thimble
