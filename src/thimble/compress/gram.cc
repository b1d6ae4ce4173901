#include "thimble/compress/gram.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "thimble/graph/panels.h"
#include "thimble/runtime/session.h"
#include "thimble/train/libraries.h"
#include "thimble/train/torch.h"

namespace thimble::compress {
namespace {

// Values that are summed into one gram, and who asked.
struct Sum {
  std::vector<ValueId> values;
  std::vector<size_t> groups;
  int64_t width = 0;
  size_t bytes() const { return static_cast<size_t>(width * width) * sizeof(double); }
};

Result<std::vector<Sum>> PlanSums(const Graph& graph,
                                  std::span<const std::vector<size_t>> groups) {
  std::map<std::vector<ValueId>, Sum> sums;
  for (size_t g = 0; g < groups.size(); ++g) {
    std::vector<ValueId> values;
    for (const size_t index : groups[g]) {
      if (index >= graph.nodes.size() || graph.nodes[index].op != OpKind::kLinear) {
        return InvalidArgument("moments are taken of what linears read, and node " +
                               std::to_string(index) + " is none");
      }
      values.push_back(graph.nodes[index].inputs[0]);
      if (graph.value(values.back()).type.width != graph.value(values[0]).type.width) {
        return InvalidArgument(graph.nodes[index].name +
                               " reads another width than others of its group");
      }
    }
    if (values.empty()) return InvalidArgument("a group of linears is empty");
    const int64_t width = graph.value(values[0]).type.width;
    Sum& sum = sums[values];
    sum.values = values;
    sum.width = width;
    sum.groups.push_back(g);
  }
  std::vector<Sum> list;
  for (auto& [values, sum] : sums) list.push_back(std::move(sum));
  return list;
}

// With the weights of linears as the runtime multiplies by them. Those that were tied need not be.
Graph InPanels(Graph graph) {
  for (Node& node : graph.nodes) {
    if (node.op != OpKind::kLinear) continue;
    Tensor& weight = node.weights[0].tensor;
    if (weight.layout() == Layout::kPanels) continue;
    if (weight.dtype() == DType::kBF16) {
      weight = Tensor::FromFloats(weight.shape(), weight.ToFloats());
    }
    weight = PackPanels(weight);
  }
  return graph;
}

std::string OutputName(ValueId value) { return "moments." + std::to_string(Index(value)); }

// Adds x x^T of the rows of `x` [rows, width] to the lower triangle of `sum`, block by block.
void AddProducts(const at::Tensor& x, at::Tensor& sum) {
  constexpr int64_t kBlock = 256;
  const int64_t width = x.size(1);
  for (int64_t r = 0; r < width; r += kBlock) {
    const int64_t rows = std::min(kBlock, width - r);
    sum.narrow(0, r, rows).narrow(1, 0, r + rows).addmm_(x.narrow(1, r, rows).t(),
                                                         x.narrow(1, 0, r + rows));
  }
}

// The gram that is being summed.
struct Accumulator {
  explicit Accumulator(int64_t width)
      : products(at::zeros({width, width}, at::kDouble)), sums(at::zeros({width}, at::kDouble)) {}

  void Add(const OutputView& view) {
    const auto shape = {static_cast<int64_t>(view.rows), static_cast<int64_t>(view.width)};
    const at::Tensor x = at::from_blob(const_cast<float*>(view.data), shape,
                                       {static_cast<int64_t>(view.stride), 1}, at::kFloat)
                             .to(at::kDouble);
    AddProducts(x, products);
    sums.add_(x.sum(0));
    rows += x.size(0);
  }

  Gram Finish() && {
    const int64_t width = sums.size(0);
    Gram gram{.width = width, .rows = rows};
    const at::Tensor whole = products.tril() + products.tril(-1).t();
    const double* p = whole.data_ptr<double>();
    gram.sum.assign(p, p + whole.numel());
    gram.total.assign(sums.data_ptr<double>(), sums.data_ptr<double>() + width);
    return gram;
  }

  at::Tensor products, sums;
  int64_t rows = 0;
};

// One run over the examples for some of the sums.
class Pass {
 public:
  Pass(const Graph& packed, std::span<const Sum> sums, const GramOptions& options)
      : sums_(sums), options_(options), graph_(packed) {
    graph_.outputs.clear();
    for (size_t s = 0; s < sums.size(); ++s) {
      accumulators_.emplace_back(sums[s].width);
      for (const ValueId value : sums[s].values) {
        if (graph_.FindOutput(OutputName(value)) == nullptr) {
          graph_.outputs.push_back({OutputName(value), value});
        }
      }
    }
  }

  Status Run(std::span<const train::TrainingExample> examples,
             const std::function<Status(double)>& progress) {
    std::vector<std::string> outputs;
    for (const GraphOutput& output : graph_.outputs) outputs.push_back(output.name);
    TRY(Session session,
        Session::Create(graph_, {.threads = options_.threads, .outputs = outputs}));
    Batch batch;
    for (size_t i = 0; i < examples.size(); ++i) {
      batch.Add(examples[i].ids, examples[i].type_ids);
      if (batch.tokens() < options_.batch_tokens && i + 1 < examples.size()) continue;
      TRY_VOID(session.Run(batch));
      batch.Clear();
      for (size_t o = 0; o < session.outputs(); ++o) Add(session.output(o), graph_.outputs[o].value);
      if (progress) {
        TRY_VOID(progress(static_cast<double>(i + 1) / static_cast<double>(examples.size())));
      }
    }
    return {};
  }

  Gram Take(size_t sum) { return std::move(accumulators_[sum]).Finish(); }

 private:
  void Add(const OutputView& view, ValueId value) {
    for (size_t s = 0; s < sums_.size(); ++s) {
      const auto times = std::count(sums_[s].values.begin(), sums_[s].values.end(), value);
      for (std::ptrdiff_t t = 0; t < times; ++t) accumulators_[s].Add(view);
    }
  }

  std::span<const Sum> sums_;
  const GramOptions& options_;
  Graph graph_;
  std::vector<Accumulator> accumulators_;
};

std::span<const train::TrainingExample> WithinBudget(
    std::span<const train::TrainingExample> examples, size_t max_tokens) {
  size_t count = 0, tokens = 0;
  while (count < examples.size() && (count == 0 || tokens < max_tokens)) {
    tokens += examples[count++].ids.size();
  }
  return examples.first(count);
}

Status Visit(const Graph& graph, std::span<const Sum> sums,
             std::span<const train::TrainingExample> examples, const GramOptions& options,
             const std::function<Status(size_t, const Gram&)>& visit) {
  const Graph packed = InPanels(graph);
  for (size_t begin = 0; begin < sums.size();) {
    size_t end = begin, bytes = 0;
    while (end < sums.size() && (end == begin || bytes + sums[end].bytes() <= options.max_bytes)) {
      bytes += sums[end++].bytes();
    }
    const std::span<const Sum> now = sums.subspan(begin, end - begin);
    Pass pass(packed, now, options);
    {
      const train::ThreadsPerCall threads(options.threads);
      TRY_VOID(pass.Run(examples, [&](double share) -> Status {
        if (!options.progress) return {};
        const auto first = static_cast<double>(begin), count = static_cast<double>(now.size());
        return options.progress((first + share * count) / static_cast<double>(sums.size()));
      }));
    }
    for (size_t s = 0; s < now.size(); ++s) {
      const Gram gram = pass.Take(s);
      if (!std::isfinite(std::accumulate(gram.sum.begin(), gram.sum.end(), 0.0))) {
        return InvalidData("what the linears of value " +
                           graph.value(now[s].values[0]).name +
                           " read is not finite; the model overflows on the calibration data");
      }
      for (const size_t group : now[s].groups) TRY_VOID(visit(group, gram));
    }
    begin = end;
  }
  return {};
}

}  // namespace

Status VisitGrams(const Graph& graph, std::span<const std::vector<size_t>> groups,
                  std::span<const train::TrainingExample> examples, const GramOptions& options,
                  const std::function<Status(size_t group, const Gram& gram)>& visit) {
  TRY(const std::vector<Sum> sums, PlanSums(graph, groups));
  if (sums.empty()) return {};
  if (examples.empty()) return InvalidData("there are no calibration examples");
  try {
    return Visit(graph, sums, WithinBudget(examples, options.max_tokens), options, visit);
  } catch (const c10::Error& error) {
    return ResourceExhausted("libtorch: " + std::string(error.what_without_backtrace()));
  }
}

std::vector<size_t> Consumers(const Structure& structure) {
  std::vector<size_t> nodes{structure.consumer};
  for (const Structure::Place& place : structure.tied) nodes.push_back(place.consumer);
  return nodes;
}

}  // namespace thimble::compress
