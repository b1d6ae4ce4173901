#include "thimble/compress/factorize.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "thimble/compress/torch_tensor.h"
#include "thimble/data/plain_text.h"
#include "thimble/passes/copy_graph.h"
#include "thimble/passes/to_half.h"
#include "thimble/text/tokenizer.h"

namespace thimble::compress {
namespace {

bool IsFloat(const Tensor& t) { return t.dtype() == DType::kF32 || t.dtype() == DType::kF16; }

// Nodes that hold the same constant. A file keeps one that is both table and decoder in two layouts, under one name.
std::vector<size_t> Sharers(const Graph& graph, const Weight& weight) {
  std::vector<size_t> nodes;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const Weight& w : graph.nodes[i].weights) {
      const bool same_name = w.name == weight.name && w.tensor.shape() == weight.tensor.shape();
      if (same_name || w.tensor.SameAs(weight.tensor)) nodes.push_back(i);
    }
  }
  return nodes;
}

// As a tensor of the type that `like` has.
Result<Tensor> Like(const Tensor& like, const at::Tensor& values) {
  Tensor tensor = FromTorch(values);
  return like.dtype() == DType::kF16 ? ToHalf(tensor) : tensor;
}

// The only node that reads what `node` gives.
std::optional<size_t> OnlyReader(const Graph& graph, size_t node) {
  std::optional<size_t> reader;
  int reads = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const ValueId id : graph.nodes[i].inputs) {
      if (id == graph.nodes[node].output) reader = i, ++reads;
    }
  }
  for (const GraphOutput& output : graph.outputs) reads += output.value == graph.nodes[node].output;
  return reads == 1 ? reader : std::nullopt;
}

std::optional<size_t> Producer(const Graph& graph, ValueId value) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].output == value) return i;
  }
  return std::nullopt;
}

// A float linear whose weight is its own.
bool IsFreeLinear(const Graph& graph, size_t node) {
  if (graph.nodes[node].op != OpKind::kLinear) return false;
  const Weight& weight = graph.nodes[node].weights[0];
  return IsFloat(weight.tensor) && Sharers(graph, weight).size() == 1;
}

class TableFactorizer {
 public:
  explicit TableFactorizer(const Graph& graph) : graph_(graph) {}

  Result<TableFactorization> Run(std::span<const double> counts, const TableWidth& width) && {
    TRY_VOID(Find());
    const Tensor& table = graph_.nodes[table_].weights[0].tensor;
    result_.table = graph_.nodes[table_].name;
    result_.rows = table.dim(0);
    result_.width = table.dim(1);
    if (width.rank < 0 || width.rank > result_.width || (width.rank == 0 && !(width.energy > 0))) {
      return InvalidArgument("the token table is " + std::to_string(result_.width) +
                             " wide: a rank is between 1 and that");
    }
    // Rows of U are eigenvectors of the weighted second moment of the table's rows.
    const at::Tensor e = ToTorch(table).to(at::kDouble);
    at::Tensor weights = at::ones({result_.rows, 1}, at::kDouble);
    for (size_t i = 0; i < std::min(counts.size(), static_cast<size_t>(result_.rows)); ++i) {
      weights.data_ptr<double>()[i] += counts[i];
    }
    const auto [values, vectors] = at::linalg_eigh(at::mm(e.t(), e * weights));  // rising
    const at::Tensor energies = values.flip(0).clamp_min(0).cumsum(0);
    const double* energy = energies.data_ptr<double>();
    const double all = std::max(energy[result_.width - 1], 1e-300);
    result_.rank = width.rank;
    if (result_.rank == 0) {
      while (++result_.rank < result_.width && energy[result_.rank - 1] < width.energy * all) {
      }
    }
    result_.energy = energy[result_.rank - 1] / all;
    up_ = vectors.narrow(1, result_.width - result_.rank, result_.rank)
              .contiguous();  // [width, rank]
    TRY(thin_, Like(table, at::mm(e, up_)));
    TRY(result_.graph, Rebuild());
    return std::move(result_);
  }

 private:
  Status Find() {
    size_t found = 0;
    std::vector<size_t> readers;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (node.op == OpKind::kEmbedding && graph_.value(node.inputs[0]).name == kInputIds) {
        table_ = i;
        ++found;
      }
    }
    if (found != 1)
      return Unsupported("the model has " + std::to_string(found) + " tables of tokens, not one");
    const Tensor& table = graph_.nodes[table_].weights[0].tensor;
    if (!IsFloat(table)) {
      return Unsupported("the table of tokens is " + std::string(DTypeName(table.dtype())) +
                         "; factorize the float model, then quantize it");
    }
    for (const size_t node : Sharers(graph_, graph_.nodes[table_].weights[0])) {
      if (node == table_) continue;
      if (graph_.nodes[node].op != OpKind::kLinear) {
        return Unsupported(graph_.nodes[node].name + " shares the table of tokens");
      }
      decoders_.push_back(node);
    }
    // embedding -> linear, or embedding -> trigram -> linear, read by nothing else.
    std::optional<size_t> reader = OnlyReader(graph_, table_);
    if (reader && graph_.nodes[*reader].op == OpKind::kTrigram) {
      reader = OnlyReader(graph_, *reader);
    }
    if (reader && IsFreeLinear(graph_, *reader)) {
      into_ = reader;
      result_.folded = true;
    }
    // linear -> decoder, as factorizing leaves it.
    for (const size_t decoder : decoders_) {
      const std::optional<size_t> before = Producer(graph_, graph_.nodes[decoder].inputs[0]);
      if (before && IsFreeLinear(graph_, *before) && OnlyReader(graph_, *before) == decoder) {
        downs_.insert(*before);
      }
    }
    return {};
  }

  Result<Graph> Rebuild() const {
    const Tensor& table = graph_.nodes[table_].weights[0].tensor;
    Builder builder;
    GraphCopier copy(graph_, builder);
    // Adds a linear without bias.
    const auto linear = [&](const std::string& name, ValueId x,
                            const at::Tensor& weight) -> Result<ValueId> {
      TRY(Tensor tensor, Like(table, weight));
      return builder.Add(OpKind::kLinear, name, {x}, {{name + ".weight", std::move(tensor)}});
    };
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      std::vector<Weight> weights = node.weights;
      if (i == table_) {
        weights[0].tensor = thin_;
        copy.Copy(node, std::move(weights));
        if (into_) continue;
        TRY(copy[node.output], linear(node.name + ".up", copy[node.output], up_));
      } else if (into_ == i) {
        // Its weight is one block of columns per copy of the embedding that it reads.
        const at::Tensor w = ToTorch(weights[0].tensor).to(at::kDouble);
        const at::Tensor blocks = at::matmul(w.view({w.size(0), -1, result_.width}), up_);
        TRY(weights[0].tensor, Like(weights[0].tensor, blocks.reshape({w.size(0), -1})));
        copy.Copy(node, std::move(weights));
      } else if (downs_.contains(i)) {
        for (Weight& weight : weights) {
          TRY(weight.tensor,
              Like(weight.tensor, at::matmul(up_.t(), ToTorch(weight.tensor).to(at::kDouble))));
        }
        copy.Copy(node, std::move(weights));
      } else if (std::find(decoders_.begin(), decoders_.end(), i) != decoders_.end()) {
        weights[0].tensor = thin_;
        const std::optional<size_t> before = Producer(graph_, node.inputs[0]);
        ValueId low = copy[node.inputs[0]];
        if (!before || !downs_.contains(*before)) {
          TRY(low, linear(node.name + ".down", low, up_.t()));
        }
        copy[node.output] = builder.Add(OpKind::kLinear, node.name, {low}, std::move(weights));
      } else {
        copy.Copy(node);
      }
    }
    copy.Outputs();
    return std::move(builder).Finish(graph_.max_sequence_length);
  }

  const Graph& graph_;
  size_t table_ = 0;
  std::vector<size_t> decoders_;
  std::optional<size_t> into_;  // takes the second factor
  std::set<size_t> downs_;      // take it in front of a decoder
  at::Tensor up_;
  Tensor thin_;
  TableFactorization result_;
};

// Calls `visit` with the ids of every text, untruncated.
Status ForEachText(const Model& model, const std::vector<std::string>& paths,
                   const ProgressFn& progress,
                   const std::function<void(std::span<const int32_t>)>& visit) {
  TRY(const Tokenizer tokenizer, Tokenizer::Create(model.tokenizer));
  TRY(PlainText text, PlainText::Open(paths));
  std::string paragraph;
  size_t lines = 0;
  while (true) {
    TRY(const bool more, text.Next(paragraph));
    if (!more) break;
    if (paragraph.empty()) continue;
    TRY(const Encoding encoding, tokenizer.Encode(paragraph, {.truncation = Truncation::kNone}));
    visit(encoding.ids);
    if (++lines % 1000 == 0)
      TRY_VOID(progress(text.bytes_read() / std::max(text.bytes_total(), 1.0)));
  }
  if (lines == 0) return InvalidData(paths[0] + ": has no text to count tokens in");
  return {};
}

// The factors of W = B A of the largest rank, to be cut: A's rows and B's columns stand by falling energy.
struct Factors {
  at::Tensor a, b;  // [rank, inputs], [outputs, rank]
  LinearChoice choice;
};

Factors FactorsOf(const Tensor& weight, const at::Tensor& gram) {
  const at::Tensor w = ToTorch(weight).to(at::kDouble);
  // L = V sqrt(S) of X X^T = V S V^T; directions that the texts never use get a little weight, so that L can be inverted.
  const auto [s, v] = at::linalg_eigh(gram);
  const at::Tensor root = s.clamp_min(std::max(1e-9 * s.max().item<double>(), 1e-300)).sqrt();
  const auto [u, sizes, vt] = at::linalg_svd(at::mm(w, v * root), false);
  // Both factors of like size, so that either can be quantized.
  const at::Tensor balance = (sizes.clamp_min(1e-30) / root.mean()).sqrt();
  Factors f{at::mm(vt, (v / root).t()) * balance.unsqueeze(1), u * (sizes / balance), {}};
  f.choice.outputs = w.size(0);
  f.choice.inputs = w.size(1);
  const at::Tensor squares = sizes.square();
  const double all = std::max(squares.sum().item<double>(), 1e-300);
  for (int64_t i = 0; i < squares.size(0); ++i) {
    f.choice.energy.push_back(squares.data_ptr<double>()[i] / all);
  }
  return f;
}

// The least rank that loses at most `error`; 0 where it would not be smaller.
int64_t RankOfError(const LinearChoice& linear, double error) {
  auto rank = static_cast<int64_t>(linear.energy.size());
  double lost = 0;
  while (rank > 1 && lost + linear.energy[static_cast<size_t>(rank - 1)] <= error) {
    lost += linear.energy[static_cast<size_t>(--rank)];
  }
  return linear.Parameters(rank) < linear.Parameters(0) ? rank : 0;
}

// Minimises error + lambda * parameters. Errors fall ever more slowly with the rank, so that it ends where the next
// singular value is not worth its row and column.
int64_t RankOfPrice(const LinearChoice& linear, double lambda) {
  const double price = lambda * static_cast<double>(linear.Parameters(1));
  int64_t rank = 1;
  while (rank < static_cast<int64_t>(linear.energy.size()) &&
         linear.energy[static_cast<size_t>(rank)] >= price) {
    ++rank;
  }
  const auto cost = [&](int64_t r) {
    return linear.Error(r) + lambda * static_cast<double>(linear.Parameters(r));
  };
  return cost(rank) < cost(0) ? rank : 0;
}

}  // namespace

Result<std::vector<double>> TokenCounts(const Model& model, const std::vector<std::string>& paths,
                                        const ProgressFn& progress) {
  size_t ids = model.tokenizer.pieces.size();
  for (const AddedToken& token : model.tokenizer.added_tokens) {
    ids = std::max(ids, static_cast<size_t>(token.id) + 1);
  }
  std::vector<double> counts(ids, 0.0);
  TRY_VOID(ForEachText(model, paths, progress, [&](std::span<const int32_t> text) {
    for (const int32_t id : text) ++counts[static_cast<size_t>(id)];
  }));
  return counts;
}

Result<double> ChangedTexts(const Model& model, const std::vector<std::string>& paths,
                            const std::vector<int32_t>& kept, const ProgressFn& progress) {
  double texts = 0, changed = 0;
  TRY_VOID(ForEachText(model, paths, progress, [&](std::span<const int32_t> text) {
    ++texts;
    changed += !std::all_of(text.begin(), text.end(), [&](int32_t id) {
      return std::binary_search(kept.begin(), kept.end(), id);
    });
  }));
  return changed / texts;
}

Result<TableFactorization> FactorizeTokenTable(const Graph& graph, std::span<const double> counts,
                                               const TableWidth& width) {
  const c10::InferenceMode guard;
  return TableFactorizer(graph).Run(counts, width);
}

std::vector<size_t> FactorizableLinears(const Graph& graph) {
  std::vector<size_t> linears;
  const GraphOutput* hidden = graph.FindOutput("last_hidden_state");
  if (hidden == nullptr) return linears;
  const std::vector<bool> body = NeededNodes(graph, {&hidden->value, 1});
  // Two linears without anything between are one of low rank.
  const auto half = [&](size_t node) {
    const std::optional<size_t> before = Producer(graph, graph.nodes[node].inputs[0]);
    const std::optional<size_t> after = OnlyReader(graph, node);
    return (before && graph.nodes[*before].op == OpKind::kLinear && OnlyReader(graph, *before)) ||
           (after && graph.nodes[*after].op == OpKind::kLinear);
  };
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (body[i] && IsFreeLinear(graph, i) && !half(i)) linears.push_back(i);
  }
  return linears;
}

double LinearChoice::Error(int64_t rank) const {
  if (rank == 0) return 0;
  double lost = 0;
  for (size_t i = energy.size(); i > static_cast<size_t>(rank); --i) lost += energy[i - 1];
  return lost;
}

Result<std::vector<int64_t>> RanksWithin(std::span<const LinearChoice> linears,
                                         int64_t parameters) {
  std::vector<int64_t> ranks(linears.size());
  const auto at_price = [&](double lambda) {
    int64_t sum = 0;
    for (size_t i = 0; i < linears.size(); ++i) {
      ranks[i] = RankOfPrice(linears[i], lambda);
      sum += linears[i].Parameters(ranks[i]);
    }
    return sum;
  };
  // At `high` a parameter costs more than all errors together.
  double low = 0, high = 2;
  if (const int64_t least = at_price(high); least > parameters) {
    return InvalidArgument("linears of " + std::to_string(parameters) +
                           " parameters are asked for; rank 1 everywhere has " +
                           std::to_string(least));
  }
  constexpr int kHalvings = 100;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    (at_price(middle) > parameters ? low : high) = middle;
  }
  at_price(high);
  return ranks;
}

Result<LinearsFactorization> FactorizeLinears(const Graph& graph, std::span<const size_t> linears,
                                              std::span<const Gram> grams,
                                              const LinearLimit& limit) {
  const double value = limit.share > 0 ? limit.share : limit.error;
  if (!(value > 0 && value < 1)) {
    return InvalidArgument("the share or the error of linears is between 0 and 1");
  }
  const c10::InferenceMode guard;
  LinearsFactorization result;
  std::vector<Factors> factors;
  std::vector<LinearChoice> choices;
  for (size_t i = 0; i < linears.size(); ++i) {
    factors.push_back(FactorsOf(graph.nodes[linears[i]].weights[0].tensor, grams[i].sum));
    choices.push_back(factors.back().choice);
    result.parameters_before += choices.back().Parameters(0);
  }
  std::vector<int64_t> ranks;
  if (limit.share > 0) {
    const auto all = static_cast<double>(result.parameters_before);
    TRY(ranks, RanksWithin(choices, static_cast<int64_t>(limit.share * all)));
  } else {
    for (const LinearChoice& choice : choices) ranks.push_back(RankOfError(choice, limit.error));
  }
  std::map<size_t, size_t> index;  // node to place in `linears`, of those that are factorized
  for (size_t i = 0; i < linears.size(); ++i) {
    const LinearChoice& c = choices[i];
    result.parameters += c.Parameters(ranks[i]);
    if (ranks[i] == 0) continue;
    index[linears[i]] = i;
    result.linears.push_back(
        {graph.nodes[linears[i]].name, ranks[i], c.outputs, c.inputs, c.Error(ranks[i])});
  }
  Builder builder;
  GraphCopier copy(graph, builder);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const auto found = index.find(n);
    if (found == index.end()) {
      copy.Copy(node);
      continue;
    }
    const Factors& f = factors[found->second];
    const int64_t rank = ranks[found->second];
    std::vector<Weight> weights = node.weights;
    const Tensor weight = weights[0].tensor;
    TRY(Tensor down, Like(weight, f.a.narrow(0, 0, rank)));
    TRY(weights[0].tensor, Like(weight, f.b.narrow(1, 0, rank)));
    const ValueId low = builder.Add(OpKind::kLinear, node.name + ".down", {copy[node.inputs[0]]},
                                    {{node.name + ".down.weight", std::move(down)}});
    copy[node.output] = builder.Add(OpKind::kLinear, node.name, {low}, std::move(weights));
  }
  copy.Outputs();
  TRY(result.graph, std::move(builder).Finish(graph.max_sequence_length));
  return result;
}

}  // namespace thimble::compress
