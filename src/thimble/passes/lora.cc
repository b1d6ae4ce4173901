#include "thimble/passes/lora.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/base/random.h"
#include "thimble/graph/panels.h"
#include "thimble/passes/copy_graph.h"
#include "thimble/passes/passes.h"
#include "thimble/passes/replace_head.h"

namespace thimble {
namespace {

constexpr std::string_view kDown = ".lora_A", kUp = ".lora_B", kSum = ".lora";

// Where `*` stands for any characters.
bool Matches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, retry = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++, retry = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1, t = ++retry;
    } else {
      return false;
    }
  }
  return std::all_of(pattern.begin() + static_cast<std::ptrdiff_t>(p), pattern.end(),
                     [](char c) { return c == '*'; });
}

// "x" of "x.weight".
std::string Stem(const Weight& weight) {
  constexpr std::string_view kEnd = ".weight";
  const bool ends = weight.name.ends_with(kEnd);
  return weight.name.substr(0, weight.name.size() - (ends ? kEnd.size() : 0));
}

// --- Which linears

class Targets {
 public:
  // `body`: per node, whether it may be one.
  Targets(const Graph& graph, const std::vector<bool>& body) : graph_(graph), body_(body) {
    for (const Node& node : graph.nodes) {
      if (node.op != OpKind::kAttention) continue;
      for (size_t i = 0; i < node.inputs.size(); ++i) roles_.emplace(node.inputs[i], kRoles[i]);
    }
  }

  Result<std::vector<bool>> Choose(const std::vector<std::string>& entries) const {
    std::vector<bool> chosen(graph_.nodes.size(), false);
    for (const std::string& entry : entries) {
      bool any = false;
      for (size_t i = 0; i < graph_.nodes.size(); ++i) {
        if (!Eligible(i) || !Answers(graph_.nodes[i], entry)) continue;
        chosen[i] = any = true;
      }
      if (!any) return InvalidArgument("no linear answers to " + Quoted(entry) + Hint());
    }
    return chosen;
  }

 private:
  static constexpr std::string_view kRoles[] = {"query", "key", "value"};

  bool Eligible(size_t node) const {
    return body_[node] && graph_.nodes[node].op == OpKind::kLinear;
  }

  bool Answers(const Node& node, const std::string& entry) const {
    if (entry == "all") return true;
    const auto [begin, end] = roles_.equal_range(node.output);
    if (std::any_of(begin, end, [&](const auto& role) { return role.second == entry; }))
      return true;
    const std::string stem = Stem(node.weights[0]);
    return Matches(entry, node.name) || Matches("*." + entry, node.name) || Matches(entry, stem) ||
           Matches("*." + entry, stem);
  }

  std::string Hint() const {
    std::string hint = "; there are query, key, value, all and names";
    for (size_t i = graph_.nodes.size(); i-- > 0;) {
      if (Eligible(i)) return hint + " such as " + Quoted(graph_.nodes[i].name);
    }
    return hint;
  }

  const Graph& graph_;
  const std::vector<bool>& body_;
  std::multimap<ValueId, std::string_view> roles_;
};

// --- New nodes

// The matrices beside one weight.
struct Factors {
  Tensor weight, down, up;
};

class Adder {
 public:
  Adder(const Graph& graph, const LoraOptions& options) : graph_(graph), options_(options) {}

  Result<Graph> Run(const std::vector<bool>& chosen) && {
    GraphCopier copy(graph_, builder_);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      const ValueId y = copy.Copy(node);
      if (!chosen[i]) continue;
      TRY(copy[node.output], Beside(node, copy[node.inputs[0]], y));
    }
    copy.Outputs();
    return std::move(builder_).Finish(graph_.max_sequence_length);
  }

 private:
  Result<ValueId> Beside(const Node& node, ValueId x, ValueId y) {
    const Weight& weight = node.weights[0];
    const int64_t most = std::min(weight.tensor.dim(0), weight.tensor.dim(1));
    if (options_.rank > most) {
      return InvalidArgument("rank " + std::to_string(options_.rank) + " is more than " +
                             node.name + " has, whose weight is " +
                             ShapeText(weight.tensor.shape()));
    }
    const Factors& factors = FactorsOf(weight.tensor);
    const std::string stem = Stem(weight);
    const auto linear = [&](std::string_view part, std::string_view end, ValueId in,
                            const Tensor& matrix) {
      return builder_.Add(OpKind::kLinear, node.name + std::string(part), {in},
                          {{stem + std::string(end), matrix}});
    };
    const ValueId low =
        linear(kUp, kLoraUpWeight, linear(kDown, kLoraDownWeight, x, factors.down), factors.up);
    return builder_.Add(OpKind::kAdd, node.name + std::string(kSum), {y, low});
  }

  const Factors& FactorsOf(const Tensor& weight) {
    const auto known = std::find_if(factors_.begin(), factors_.end(),
                                    [&](const Factors& f) { return f.weight.SameAs(weight); });
    if (known != factors_.end()) return *known;
    const int64_t rank = options_.rank, outputs = weight.dim(0), inputs = weight.dim(1);
    Random random(options_.seed, factors_.size());
    const double bound = 1 / std::sqrt(static_cast<double>(inputs));
    std::vector<float> down(static_cast<size_t>(rank * inputs));
    for (float& a : down) a = static_cast<float>(bound * (2 * random.Uniform() - 1));
    const std::vector<float> up(static_cast<size_t>(outputs * rank), 0.0f);
    return factors_.emplace_back(Factors{weight, Tensor::FromFloats({rank, inputs}, down),
                                         Tensor::FromFloats({outputs, rank}, up)});
  }

  const Graph& graph_;
  const LoraOptions& options_;
  Builder builder_;
  std::vector<Factors> factors_;
};

// --- Taking them out

// The graph without the branches; `weight_of` gives the weight that the linear of a branch then has.
template <class WeightOf>
Result<Graph> Without(const Graph& graph, const std::vector<LoraBranch>& branches,
                      const WeightOf& weight_of) {
  std::vector<bool> out(graph.nodes.size(), false);
  std::map<size_t, const LoraBranch*> adapted;
  for (const LoraBranch& branch : branches) {
    out[branch.down] = out[branch.up] = out[branch.sum] = true;
    adapted[branch.linear] = &branch;
  }
  Builder builder;
  GraphCopier copy(graph, builder);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (out[i]) continue;
    const Node& node = graph.nodes[i];
    std::vector<Weight> weights = node.weights;
    const auto branch = adapted.find(i);
    if (branch != adapted.end()) {
      Result<Tensor> weight = weight_of(*branch->second);
      if (!weight) return std::move(weight).error().In("weight '" + weights[0].name + "'");
      weights[0].tensor = *std::move(weight);
    }
    const ValueId y = copy.Copy(node, std::move(weights));
    if (branch != adapted.end()) copy[graph.nodes[branch->second->sum].output] = y;
  }
  copy.Outputs();
  return std::move(builder).Finish(graph.max_sequence_length);
}

Result<Tensor> Merged(const Tensor& weight, const Tensor& down, const Tensor& up) {
  if (IsQuantized(weight.dtype())) {
    const std::string type = "int" + std::to_string(DTypeBits(weight.dtype()));
    return Unsupported("is " + type +
                       ", and only float weights take an adapter in; leave it beside them");
  }
  const auto rank = static_cast<size_t>(down.dim(0)), inputs = static_cast<size_t>(down.dim(1));
  std::vector<float> w = weight.ToFloats();
  const std::vector<float> a = down.ToFloats(), b = up.ToFloats();
  std::vector<double> row(inputs);
  for (size_t n = 0; n < static_cast<size_t>(up.dim(0)); ++n) {
    float* out = w.data() + n * inputs;
    std::copy(out, out + inputs, row.begin());
    for (size_t r = 0; r < rank; ++r) {
      const double factor = b[n * rank + r];
      for (size_t k = 0; k < inputs; ++k) row[k] += factor * a[r * inputs + k];
    }
    for (size_t k = 0; k < inputs; ++k) out[k] = static_cast<float>(row[k]);
  }
  const Tensor merged = Tensor::FromFloats(weight.shape(), w);
  // Dense even where the weight was block-sparse: the product has no zeros.
  return weight.layout() == Layout::kRowMajor ? merged : PackPanels(merged);
}

}  // namespace

Result<Graph> AddLora(const Graph& graph, const LoraOptions& options) {
  if (options.rank < 1) return InvalidArgument("the rank of an adapter is at least 1");
  if (!FindLora(graph).empty()) {
    return InvalidArgument("the model has a low-rank adapter already; merge it first");
  }
  TRY(const std::vector<bool> body, FeatureNodes(graph));
  TRY(const std::vector<bool> chosen, Targets(graph, body).Choose(options.targets));
  return Adder(graph, options).Run(chosen);
}

std::vector<LoraBranch> FindLora(const Graph& graph) {
  std::map<std::string_view, size_t> by_name;
  std::vector<int> reads(graph.values.size(), 0);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    by_name.emplace(graph.nodes[i].name, i);
    for (const ValueId id : graph.nodes[i].inputs) ++reads[Index(id)];
  }
  for (const GraphOutput& output : graph.outputs) ++reads[Index(output.value)];
  // The linear of that name, if it is read once.
  const auto linear = [&](const std::string& name) -> std::optional<size_t> {
    const auto found = by_name.find(name);
    if (found == by_name.end()) return std::nullopt;
    const Node& node = graph.nodes[found->second];
    if (node.op != OpKind::kLinear || reads[Index(node.output)] != 1) return std::nullopt;
    return found->second;
  };
  std::vector<LoraBranch> branches;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& sum = graph.nodes[i];
    if (sum.op != OpKind::kAdd || !sum.name.ends_with(kSum)) continue;
    const std::string name = sum.name.substr(0, sum.name.size() - kSum.size());
    const auto base = linear(name), down = linear(name + std::string(kDown)),
               up = linear(name + std::string(kUp));
    if (!base || !down || !up) continue;
    const Node &w = graph.nodes[*base], &a = graph.nodes[*down], &b = graph.nodes[*up];
    if (a.weights.size() == 1 && b.weights.size() == 1 && a.inputs == w.inputs &&
        b.inputs[0] == a.output && sum.inputs == std::vector<ValueId>{w.output, b.output}) {
      branches.push_back({*base, *down, *up, i});
    }
  }
  return branches;
}

Result<Graph> MergeLora(const Graph& graph) {
  // What was tied stays tied: each product is made once.
  std::vector<std::pair<Factors, Tensor>> done;
  return Without(graph, FindLora(graph), [&](const LoraBranch& branch) -> Result<Tensor> {
    const auto weight = [&](size_t node) { return graph.nodes[node].weights[0].tensor; };
    const Factors f{weight(branch.linear), weight(branch.down), weight(branch.up)};
    for (const auto& [known, merged] : done) {
      if (known.weight.SameAs(f.weight) && known.down.SameAs(f.down) && known.up.SameAs(f.up)) {
        return merged;
      }
    }
    TRY(Tensor merged, Merged(f.weight, f.down, f.up));
    done.emplace_back(f, merged);
    return merged;
  });
}

Result<Graph> RemoveLora(const Graph& graph) {
  return Without(graph, FindLora(graph), [&](const LoraBranch& branch) -> Result<Tensor> {
    return graph.nodes[branch.linear].weights[0].tensor;
  });
}

}  // namespace thimble
