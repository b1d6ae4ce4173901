#include "thimble/compress/factorize.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "thimble/compress/torch_tensor.h"
#include "thimble/data/plain_text.h"
#include "thimble/passes/copy_graph.h"
#include "thimble/text/tokenizer.h"

namespace thimble::compress {
namespace {

bool IsFloat(const Tensor& t) { return t.dtype() == DType::kF32 || t.dtype() == DType::kF16; }

// Nodes that hold the same constant.
std::vector<size_t> Sharers(const Graph& graph, const Tensor& tensor) {
  std::vector<size_t> nodes;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const Weight& w : graph.nodes[i].weights) {
      if (w.tensor.SameAs(tensor)) nodes.push_back(i);
    }
  }
  return nodes;
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
    thin_ = FromTorch(at::mm(e, up_));
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
    for (const size_t node : Sharers(graph_, table)) {
      if (node == table_) continue;
      if (graph_.nodes[node].op != OpKind::kLinear) {
        return Unsupported(graph_.nodes[node].name + " shares the table of tokens");
      }
      decoders_.push_back(node);
    }
    // embedding -> linear, or embedding -> trigram -> linear, read by nothing else.
    std::optional<size_t> reader = OnlyReader(table_);
    if (reader && graph_.nodes[*reader].op == OpKind::kTrigram) reader = OnlyReader(*reader);
    if (reader && graph_.nodes[*reader].op == OpKind::kLinear &&
        IsFloat(graph_.nodes[*reader].weights[0].tensor) &&
        Sharers(graph_, graph_.nodes[*reader].weights[0].tensor).size() == 1) {
      into_ = reader;
      result_.folded = true;
    }
    return {};
  }

  std::optional<size_t> OnlyReader(size_t node) const {
    std::optional<size_t> reader;
    int reads = 0;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const ValueId id : graph_.nodes[i].inputs) {
        if (id == graph_.nodes[node].output) reader = i, ++reads;
      }
    }
    for (const GraphOutput& output : graph_.outputs)
      reads += output.value == graph_.nodes[node].output;
    return reads == 1 ? reader : std::nullopt;
  }

  Result<Graph> Rebuild() const {
    Builder builder;
    GraphCopier copy(graph_, builder);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (i == table_) {
        copy.Copy(node, {{node.weights[0].name, thin_}});
        if (into_) continue;
        copy[node.output] = builder.Add(OpKind::kLinear, node.name + ".up", {copy[node.output]},
                                        {{node.name + ".up.weight", FromTorch(up_)}});
      } else if (into_ == i) {
        // Its weight is one block of columns per copy of the embedding that it reads.
        const at::Tensor w = ToTorch(node.weights[0].tensor).to(at::kDouble);
        const at::Tensor blocks = at::matmul(w.view({w.size(0), -1, result_.width}), up_);
        std::vector<Weight> weights = node.weights;
        weights[0].tensor = FromTorch(blocks.reshape({w.size(0), -1}));
        copy.Copy(node, std::move(weights));
      } else if (std::find(decoders_.begin(), decoders_.end(), i) != decoders_.end()) {
        std::vector<Weight> weights = node.weights;
        weights[0].tensor = thin_;
        const ValueId low =
            builder.Add(OpKind::kLinear, node.name + ".down", {copy[node.inputs[0]]},
                        {{node.name + ".down.weight", FromTorch(up_.t())}});
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
  std::optional<size_t> into_;
  at::Tensor up_;
  Tensor thin_;
  TableFactorization result_;
};

}  // namespace

Result<std::vector<double>> TokenCounts(const Model& model, const std::vector<std::string>& paths,
                                        const ProgressFn& progress) {
  TRY(const Tokenizer tokenizer, Tokenizer::Create(model.tokenizer));
  TRY(PlainText text, PlainText::Open(paths));
  std::vector<double> counts(model.tokenizer.pieces.size(), 0.0);
  std::string paragraph;
  size_t lines = 0;
  while (true) {
    TRY(const bool more, text.Next(paragraph));
    if (!more) break;
    if (paragraph.empty()) continue;
    TRY(const Encoding encoding, tokenizer.Encode(paragraph, {.truncation = Truncation::kNone}));
    for (const int32_t id : encoding.ids) ++counts[static_cast<size_t>(id)];
    if (++lines % 1000 == 0)
      TRY_VOID(progress(text.bytes_read() / std::max(text.bytes_total(), 1.0)));
  }
  if (lines == 0) return InvalidData(paths[0] + ": has no text to count tokens in");
  return counts;
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
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (!body[i] || node.op != OpKind::kLinear || !IsFloat(node.weights[0].tensor)) continue;
    if (Sharers(graph, node.weights[0].tensor).size() == 1) linears.push_back(i);
  }
  return linears;
}

Result<LinearsFactorization> FactorizeLinears(const Graph& graph, std::span<const size_t> linears,
                                              std::span<const Gram> grams, double error) {
  if (!(error > 0 && error < 1)) return InvalidArgument("the error of linears is between 0 and 1");
  const c10::InferenceMode guard;
  LinearsFactorization result;
  std::map<size_t, std::pair<Tensor, Tensor>> factors;  // A [rank, inputs], B [outputs, rank]
  for (size_t i = 0; i < linears.size(); ++i) {
    const Node& node = graph.nodes[linears[i]];
    const at::Tensor w = ToTorch(node.weights[0].tensor).to(at::kDouble);
    const int64_t outputs = w.size(0), inputs = w.size(1);
    // L = V sqrt(S) of X X^T = V S V^T; directions that the texts never use get a little weight, so that L can be inverted.
    const auto [s, v] = at::linalg_eigh(grams[i].sum);
    const at::Tensor root = s.clamp_min(1e-9 * s.max().item<double>()).sqrt();
    const auto [u, sizes, vt] = at::linalg_svd(at::mm(w, v * root), false);
    const at::Tensor squares = sizes.square();
    const double all = squares.sum().item<double>();
    int64_t rank = sizes.size(0);
    double lost = 0;
    while (rank > 1 && lost + squares[rank - 1].item<double>() <= error * all) {
      lost += squares[--rank].item<double>();
    }
    if (rank * (outputs + inputs) >= outputs * inputs) continue;
    const at::Tensor a = at::mm(vt.narrow(0, 0, rank), (v / root).t());
    const at::Tensor b = u.narrow(1, 0, rank) * sizes.narrow(0, 0, rank);
    // Both factors of like size, so that either can be quantized.
    const at::Tensor balance = sizes.narrow(0, 0, rank).clamp_min(1e-30).sqrt();
    const double scale = root.mean().item<double>();
    factors[linears[i]] = {FromTorch(a * balance.unsqueeze(1) / std::sqrt(scale)),
                           FromTorch(b / balance * std::sqrt(scale))};
    result.linears.push_back({node.name, rank, outputs, inputs, all > 0 ? lost / all : 0});
  }
  Builder builder;
  GraphCopier copy(graph, builder);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const auto found = factors.find(i);
    if (found == factors.end()) {
      copy.Copy(node);
      continue;
    }
    const ValueId low = builder.Add(OpKind::kLinear, node.name + ".down", {copy[node.inputs[0]]},
                                    {{node.name + ".down.weight", found->second.first}});
    std::vector<Weight> weights = node.weights;
    weights[0].tensor = found->second.second;
    copy[node.output] = builder.Add(OpKind::kLinear, node.name, {low}, std::move(weights));
  }
  copy.Outputs();
  TRY(result.graph, std::move(builder).Finish(graph.max_sequence_length));
  return result;
}

}  // namespace thimble::compress
