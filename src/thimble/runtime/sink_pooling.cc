#include "thimble/runtime/sink_pooling.h"

#include <algorithm>
#include <string>
#include <vector>

namespace thimble {
namespace {

// How many rows of a value somebody reads.
enum class Demand : uint8_t { kNone, kFirstTokens, kAll };

bool IsRowwise(OpKind op) {
  switch (op) {
    case OpKind::kLinear:
    case OpKind::kLayerNorm:
    case OpKind::kAffine:
    case OpKind::kActivation:
    case OpKind::kAdd:
    case OpKind::kL2Normalize:
      return true;
    default:
      return false;
  }
}

bool IsPoolFirst(const Node& node) {
  return node.op == OpKind::kPool && std::get<PoolAttrs>(node.attrs).kind == PoolKind::kFirst;
}

class Rewrite {
 public:
  explicit Rewrite(const Graph& graph)
      : graph_(graph),
        demand_(graph.values.size(), Demand::kNone),
        all_(graph.values.size(), kNoValue),
        first_(graph.values.size(), kNoValue) {}

  Result<Graph> Run(std::span<const GraphOutput> outputs) && {
    for (const GraphOutput& output : outputs) Raise(output.value, Demand::kAll);
    for (size_t i = graph_.nodes.size(); i-- > 0;) Propagate(graph_.nodes[i]);
    for (const ValueId input : graph_.inputs) {
      // Kept even if unused: callers fill inputs by position.
      all_[Index(input)] = builder_.Input(graph_.value(input).name);
    }
    for (const Node& node : graph_.nodes) Emit(node);
    for (const GraphOutput& output : outputs) {
      builder_.Output(output.name, all_[Index(output.value)]);
    }
    return std::move(builder_).Finish(graph_.max_sequence_length);
  }

 private:
  Demand& demand(ValueId id) { return demand_[Index(id)]; }
  void Raise(ValueId id, Demand d) { demand(id) = std::max(demand(id), d); }
  bool PerToken(ValueId id) const { return graph_.value(id).type.rows == Rows::kTokens; }

  // Runs on first tokens only: they are all that is read, and the operation can do it.
  bool Sinks(const Node& node) {
    return demand(node.output) == Demand::kFirstTokens && PerToken(node.output) &&
           (IsRowwise(node.op) || node.op == OpKind::kAttention);
  }

  void Propagate(const Node& node) {
    if (demand(node.output) == Demand::kNone) return;
    const bool sinks = Sinks(node);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool keys_or_values = node.op == OpKind::kAttention && i > 0;
      const bool first_only = IsPoolFirst(node) || (sinks && !keys_or_values);
      Raise(node.inputs[i], first_only ? Demand::kFirstTokens : Demand::kAll);
    }
  }

  // The value's first tokens, gathered if only the whole value exists.
  ValueId First(ValueId id) {
    ValueId& first = first_[Index(id)];
    if (first == kNoValue) {
      first = builder_.Add(OpKind::kPool, graph_.value(id).name + ".first", {all_[Index(id)]}, {},
                           PoolAttrs{PoolKind::kFirst});
    }
    return first;
  }

  void Emit(const Node& node) {
    if (demand(node.output) == Demand::kNone) return;
    if (IsPoolFirst(node)) {
      all_[Index(node.output)] = First(node.inputs[0]);
      return;
    }
    const bool sinks = Sinks(node);
    std::vector<ValueId> inputs;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool keys_or_values = node.op == OpKind::kAttention && i > 0;
      inputs.push_back(sinks && !keys_or_values ? First(node.inputs[i])
                                                : all_[Index(node.inputs[i])]);
    }
    const ValueId out =
        builder_.Add(node.op, node.name, std::move(inputs), node.weights, node.attrs);
    (sinks ? first_ : all_)[Index(node.output)] = out;
  }

  const Graph& graph_;
  std::vector<Demand> demand_;
  std::vector<ValueId> all_, first_;  // where a value of the old graph is found in the new one
  Builder builder_;
};

}  // namespace

Result<Graph> SinkPooling(const Graph& graph, std::span<const std::string_view> outputs) {
  std::vector<GraphOutput> wanted;
  for (const std::string_view name : outputs) {
    const GraphOutput* output = graph.FindOutput(name);
    if (output == nullptr) {
      std::string known;
      for (const GraphOutput& o : graph.outputs) known += (known.empty() ? "" : ", ") + o.name;
      return InvalidArgument("the model has no output '" + std::string(name) + "'; it has " +
                             known);
    }
    wanted.push_back(*output);
  }
  return Rewrite(graph).Run(wanted);
}

}  // namespace thimble
