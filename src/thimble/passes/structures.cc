#include "thimble/passes/structures.h"

#include <algorithm>

namespace thimble {
namespace {

class Finder {
 public:
  explicit Finder(const Graph& graph) : graph_(graph), body_(graph.nodes.size(), true) {
    reads_.assign(graph.values.size(), 0);
    reader_.assign(graph.values.size(), 0);
    writer_.assign(graph.values.size(), graph.nodes.size());
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      writer_[Index(graph.nodes[i].output)] = i;
      for (const ValueId id : graph.nodes[i].inputs) {
        ++reads_[Index(id)];
        reader_[Index(id)] = i;
      }
    }
    for (const GraphOutput& output : graph.outputs) ++reads_[Index(output.value)];
    if (const GraphOutput* hidden = graph.FindOutput("last_hidden_state")) {
      body_ = NeededNodes(graph, {&hidden->value, 1});
    }
  }

  std::vector<Structure> Find() const {
    std::vector<Structure> found;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!body_[i]) continue;
      std::optional<Structure> s;
      if (graph_.nodes[i].op == OpKind::kAttention) s = Heads(i);
      if (graph_.nodes[i].op == OpKind::kLinear) s = Columns(i);
      if (s.has_value()) found.push_back(*std::move(s));
    }
    return found;
  }

 private:
  // The only node that reads a node's output; none where there are several, or it is an output of the graph.
  std::optional<size_t> OnlyReader(size_t node) const {
    const size_t value = Index(graph_.nodes[node].output);
    if (reads_[value] != 1) return std::nullopt;
    return reader_[value];
  }

  // A linear of the body that shares its weight with no other node.
  bool IsOwnLinear(size_t node) const {
    const Node& n = graph_.nodes[node];
    if (!body_[node] || n.op != OpKind::kLinear) return false;
    const Tensor& weight = n.weights[0].tensor;
    return std::none_of(graph_.nodes.begin(), graph_.nodes.end(), [&](const Node& other) {
      return &other != &n && std::any_of(other.weights.begin(), other.weights.end(),
                                         [&](const Weight& w) { return w.tensor.SameAs(weight); });
    });
  }

  std::optional<size_t> Residual(size_t consumer) const {
    const auto reader = OnlyReader(consumer);
    if (!reader || graph_.nodes[*reader].op != OpKind::kAdd) return std::nullopt;
    return reader;
  }

  std::optional<Structure> Heads(size_t attention) const {
    const Node& node = graph_.nodes[attention];
    const auto consumer = OnlyReader(attention);
    if (!consumer || !IsOwnLinear(*consumer)) return std::nullopt;
    Structure s{.kind = StructureKind::kHeads,
                .name = node.name,
                .producers = {},
                .between = {},
                .attention = attention,
                .consumer = *consumer,
                .units = std::get<AttentionAttrs>(node.attrs).heads,
                .unit_width = 0,
                .residual = Residual(*consumer)};
    s.unit_width = graph_.value(node.output).type.width / s.units;
    for (const ValueId id : node.inputs) {
      const size_t producer = writer_[Index(id)];
      if (producer == graph_.nodes.size() || !IsOwnLinear(producer)) return std::nullopt;
      if (OnlyReader(producer) != attention) return std::nullopt;
      s.producers.push_back(producer);
    }
    return s;
  }

  std::optional<Structure> Columns(size_t first) const {
    if (!IsOwnLinear(first)) return std::nullopt;
    const Node& node = graph_.nodes[first];
    Structure s{.kind = StructureKind::kColumns,
                .name = node.name,
                .producers = {first},
                .between = {},
                .attention = {},
                .consumer = 0,
                .units = graph_.value(node.output).type.width,
                .unit_width = 1,
                .residual = {}};
    bool bent = false;  // by an activation: two linears in a row are one matrix of low rank
    for (auto next = OnlyReader(first); next.has_value(); next = OnlyReader(*next)) {
      const OpKind op = graph_.nodes[*next].op;
      if (op == OpKind::kLinear) {
        if (!bent || !IsOwnLinear(*next)) return std::nullopt;
        s.consumer = *next;
        s.residual = Residual(*next);
        return s;
      }
      if (op != OpKind::kActivation && op != OpKind::kAffine) return std::nullopt;
      bent = bent || op == OpKind::kActivation;
      s.between.push_back(*next);
    }
    return std::nullopt;
  }

  const Graph& graph_;
  std::vector<bool> body_;
  std::vector<int> reads_;
  std::vector<size_t> reader_, writer_;  // per value: the last node that reads it, the one that gives it
};

}  // namespace

std::vector<Structure> FindStructures(const Graph& graph) { return Finder(graph).Find(); }

}  // namespace thimble
