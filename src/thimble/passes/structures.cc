#include "thimble/passes/structures.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace thimble {
namespace {

bool IsElementwise(OpKind op) { return op == OpKind::kActivation || op == OpKind::kAffine; }

// A structure in one place, or why it is none.
struct Candidate {
  std::optional<Structure> structure;
  std::string reason;
};

class Finder {
 public:
  explicit Finder(const Graph& graph)
      : graph_(graph), writer_(graph.values.size()), reads_(graph.values.size(), 0) {
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      writer_[Index(graph.nodes[i].output)] = i;
      for (const ValueId id : graph.nodes[i].inputs) ++reads_[Index(id)];
    }
    for (const GraphOutput& output : graph.outputs) ++reads_[Index(output.value)];
  }

  // By their first nodes, each of which has one.
  std::map<size_t, Candidate> Run() const {
    std::map<size_t, Candidate> found;
    const GraphOutput* hidden = graph_.FindOutput("last_hidden_state");
    if (hidden == nullptr) return found;
    const std::vector<bool> body = NeededNodes(graph_, {&hidden->value, 1});
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!body[i]) continue;
      const Node& node = graph_.nodes[i];
      if (node.op == OpKind::kAttention) found.emplace(i, Fixed("no linear reads it"));
      if (node.op != OpKind::kLinear) continue;
      // What it reads, back through elementwise nodes.
      bool activated = false;
      std::optional<size_t> at = writer_[Index(node.inputs[0])];
      while (at && IsElementwise(graph_.nodes[*at].op)) {
        activated = activated || graph_.nodes[*at].op == OpKind::kActivation;
        at = writer_[Index(graph_.nodes[*at].inputs[0])];
      }
      if (!at) continue;
      const OpKind source = graph_.nodes[*at].op;
      if (source == OpKind::kAttention) {
        found[*at] = Heads(*at, i);
      } else if (source == OpKind::kLinear && activated) {
        found.emplace(*at, Columns(*at, i));
      } else if (source == OpKind::kAdd && activated) {
        found.emplace(*at, Fixed("it is a sum, not a linear" + AdapterHint(at)));
      }
    }
    return found;
  }

 private:
  static Candidate Fixed(std::string reason) { return {std::nullopt, std::move(reason)}; }

  // The name of a node from `producer` to before `consumer` that something else reads too.
  std::optional<std::string> ReadTwice(size_t producer, size_t consumer) const {
    for (size_t at = *writer_[Index(graph_.nodes[consumer].inputs[0])];;
         at = *writer_[Index(graph_.nodes[at].inputs[0])]) {
      if (reads_[Index(graph_.nodes[at].output)] != 1) return graph_.nodes[at].name;
      if (at == producer) return std::nullopt;
    }
  }

  bool Removable(size_t consumer) const {
    const ValueId value = graph_.nodes[consumer].output;
    if (reads_[Index(value)] != 1) return false;
    return std::any_of(graph_.nodes.begin(), graph_.nodes.end(), [&](const Node& node) {
      return node.op == OpKind::kAdd && (node.inputs[0] == value) != (node.inputs[1] == value);
    });
  }

  Candidate Heads(size_t attention, size_t consumer) const {
    const Node& node = graph_.nodes[attention];
    if (const auto other = ReadTwice(attention, consumer)) {
      return Fixed(*other + " is read by others too");
    }
    Structure s{.kind = StructureKind::kHeads, .name = node.name, .consumer = consumer};
    constexpr const char* kRoles[] = {"queries", "keys", "values"};
    for (size_t i = 0; i < 3; ++i) {
      const std::optional<size_t> from = writer_[Index(node.inputs[i])];
      const bool linear = from && graph_.nodes[*from].op == OpKind::kLinear;
      if (!linear) {
        const std::string source =
            from ? std::string(GetOp(graph_.nodes[*from].op).name) : "an input";
        return Fixed(std::string("its ") + kRoles[i] + " come from " + source +
                     ", not from a linear" + AdapterHint(from));
      }
      if (reads_[Index(node.inputs[i])] != 1) {
        return Fixed(std::string("its ") + kRoles[i] + " are read by others too");
      }
      s.producers.push_back(*from);
    }
    s.units = std::get<AttentionAttrs>(node.attrs).heads;
    s.unit_width = graph_.value(node.output).type.width / s.units;
    s.removable = Removable(consumer);
    return {std::move(s), {}};
  }

  Candidate Columns(size_t producer, size_t consumer) const {
    if (const auto other = ReadTwice(producer, consumer)) {
      return Fixed(*other + " is read by others too");
    }
    Structure s{.kind = StructureKind::kColumns,
                .name = graph_.nodes[producer].name,
                .producers = {producer},
                .consumer = consumer,
                .units = graph_.value(graph_.nodes[producer].output).type.width};
    s.removable = Removable(consumer);
    return {std::move(s), {}};
  }

  std::string AdapterHint(std::optional<size_t> from) const {
    const bool adapter = from && graph_.nodes[*from].op == OpKind::kAdd &&
                         graph_.nodes[*from].name.ends_with(".lora");
    return adapter ? "; merge the adapter first" : "";
  }

  const Graph& graph_;
  std::vector<std::optional<size_t>> writer_;  // per value
  std::vector<int> reads_;                     // per value; outputs of the graph read too
};

// --- Weights that several places share

struct WeightUse {
  size_t node = 0, weight = 0;
  auto operator<=>(const WeightUse&) const = default;
};

// The weights that cutting the structure changes, by role.
std::vector<WeightUse> CutWeights(const Graph& graph, const Structure& s) {
  std::vector<WeightUse> cut;
  const auto all_of = [&](size_t node) {
    for (size_t w = 0; w < graph.nodes[node].weights.size(); ++w) cut.push_back({node, w});
  };
  for (const size_t producer : s.producers) all_of(producer);
  for (const size_t node : NodesBetween(graph, s.consumer)) all_of(node);
  cut.push_back({s.consumer, 0});
  return cut;
}

struct Found {
  std::vector<Structure> structures;
  std::vector<FixedStructure> fixed;
};

Found Find(const Graph& graph) {
  using Storage = const std::byte*;
  const auto storage = [&](const WeightUse& use) -> Storage {
    return graph.nodes[use.node].weights[use.weight].tensor.data().data();
  };
  std::map<Storage, std::vector<WeightUse>> users;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (size_t w = 0; w < graph.nodes[i].weights.size(); ++w) {
      users[storage({i, w})].push_back({i, w});
    }
  }
  // Places that share every weight that is cut are one structure.
  std::map<size_t, Candidate> candidates = Finder(graph).Run();
  std::map<std::vector<Storage>, std::vector<size_t>> groups;
  for (const auto& [first, candidate] : candidates) {
    if (!candidate.structure) continue;
    std::vector<Storage> key;
    for (const WeightUse& use : CutWeights(graph, *candidate.structure)) {
      key.push_back(storage(use));
    }
    groups[key].push_back(first);
  }
  for (const auto& [key, places] : groups) {
    std::set<WeightUse> cut;
    bool alike = true;
    Structure& head = *candidates[places[0]].structure;
    for (const size_t place : places) {
      const Structure& s = *candidates[place].structure;
      for (const WeightUse& use : CutWeights(graph, s)) cut.insert(use);
      alike = alike && s.kind == head.kind && s.units == head.units;
    }
    std::optional<WeightUse> other;
    for (const Storage weight : key) {
      for (const WeightUse& use : users[weight]) {
        if (!cut.contains(use)) other = use;
      }
    }
    if (!alike || other) {
      const std::string reason = other
                                     ? "it shares a weight with " + graph.nodes[other->node].name +
                                           ", which cannot be cut alike"
                                     : "it shares its weights with a layer of other heads";
      for (const size_t place : places) {
        candidates[place].structure.reset();
        candidates[place].reason = reason;
      }
      continue;
    }
    for (size_t i = 1; i < places.size(); ++i) {
      Candidate& tied = candidates[places[i]];
      head.removable = head.removable && tied.structure->removable;
      head.tied.push_back({std::move(tied.structure->producers), tied.structure->consumer});
      candidates.erase(places[i]);
    }
  }
  Found found;
  for (auto& [first, candidate] : candidates) {
    if (candidate.structure) {
      found.structures.push_back(*std::move(candidate.structure));
    } else {
      found.fixed.push_back({graph.nodes[first].name, std::move(candidate.reason)});
    }
  }
  return found;
}

}  // namespace

std::vector<size_t> NodesBetween(const Graph& graph, size_t consumer) {
  std::vector<size_t> between;
  ValueId value = graph.nodes[consumer].inputs[0];
  for (size_t i = consumer; i-- > 0;) {
    const Node& node = graph.nodes[i];
    if (node.output != value) continue;
    if (!IsElementwise(node.op)) break;
    between.push_back(i);
    value = node.inputs[0];
  }
  return between;
}

std::vector<Structure> FindStructures(const Graph& graph) { return Find(graph).structures; }

std::vector<FixedStructure> FindFixedStructures(const Graph& graph) { return Find(graph).fixed; }

}  // namespace thimble
