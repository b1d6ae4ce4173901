#include "thimble/compress/gram.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "thimble/formats/thimble/packed.h"

namespace thimble::compress {
namespace {

constexpr size_t kGramBatchTokens = 2048;

// Values that are summed together, and the groups that want the sum.
struct Sum {
  std::vector<ValueId> values;
  std::vector<size_t> groups;
  int64_t width = 0;
  size_t bytes() const { return static_cast<size_t>(width * width) * sizeof(double); }
};

Result<std::vector<Sum>> PlanSums(const Graph& graph, std::span<const std::vector<size_t>> groups) {
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
    Sum& sum = sums[values];
    sum.values = values;
    sum.width = graph.value(values[0]).type.width;
    sum.groups.push_back(g);
  }
  std::vector<Sum> list;
  for (auto& [values, sum] : sums) list.push_back(std::move(sum));
  return list;
}

// Adds x^T x to the blocks of `sum` on and below its diagonal.
void AddProducts(const at::Tensor& x, at::Tensor& sum) {
  constexpr int64_t kBlock = 512;
  const int64_t width = x.size(1);
  for (int64_t r = 0; r < width; r += kBlock) {
    const int64_t rows = std::min(kBlock, width - r);
    sum.narrow(0, r, rows)
        .narrow(1, 0, r + rows)
        .addmm_(x.narrow(1, r, rows).t(), x.narrow(1, 0, r + rows));
  }
}

class Collector {
 public:
  Collector(const Graph& graph, std::span<const Sum> sums) : graph_(graph), sums_(sums) {
    graph_.outputs.clear();
    for (const Sum& sum : sums) {
      grams_.push_back(
          {at::zeros({sum.width, sum.width}, at::kDouble), at::zeros({sum.width}, at::kDouble)});
      for (const ValueId value : sum.values) {
        const std::string name = "gram." + std::to_string(Index(value));
        if (graph_.FindOutput(name) == nullptr) graph_.outputs.push_back({name, value});
      }
    }
  }

  Status Run(const std::vector<train::TrainingExample>& examples, const GramOptions& options,
             const ProgressFn& progress) {
    std::vector<std::string> names;
    for (const GraphOutput& output : graph_.outputs) names.push_back(output.name);
    TRY(Session session, Session::Create(graph_, {.threads = options.threads, .outputs = names}));
    size_t done = 0;
    const auto add = [&](const Batch& batch) -> Status {
      TRY_VOID(session.Run(batch));
      for (size_t o = 0; o < names.size(); ++o) Add(session.output(o), graph_.outputs[o].value);
      done += batch.sequences();
      return progress(static_cast<double>(done) / static_cast<double>(examples.size()));
    };
    TRY_VOID(ForEachBatch(examples, kGramBatchTokens, add));
    for (Gram& gram : grams_) gram.sum = gram.sum.tril().add_(gram.sum.tril(-1).t());
    return {};
  }

  // The sum is given away.
  Gram Take(size_t sum) { return std::move(grams_[sum]); }

 private:
  void Add(const OutputView& view, ValueId value) {
    const at::Tensor x =
        at::empty({static_cast<int64_t>(view.rows), static_cast<int64_t>(view.width)}, at::kDouble);
    auto* out = x.data_ptr<double>();
    for (size_t r = 0; r < view.rows; ++r) {
      out = std::copy(view.row(r).begin(), view.row(r).end(), out);
    }
    for (size_t s = 0; s < sums_.size(); ++s) {
      const std::vector<ValueId>& values = sums_[s].values;
      for (auto times = std::count(values.begin(), values.end(), value); times > 0; --times) {
        AddProducts(x, grams_[s].sum);
        grams_[s].total.add_(x.sum(0));
        grams_[s].rows += x.size(0);
      }
    }
  }

  Graph graph_;
  std::span<const Sum> sums_;
  std::vector<Gram> grams_;
};

std::vector<train::TrainingExample> WithinBudget(
    const std::vector<train::TrainingExample>& examples, size_t max_tokens) {
  size_t count = 0, tokens = 0;
  while (count < examples.size() && tokens < max_tokens) tokens += examples[count++].ids.size();
  return {examples.begin(), examples.begin() + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace

Status VisitGrams(const Graph& graph, std::span<const std::vector<size_t>> groups,
                  const std::vector<train::TrainingExample>& examples, const GramOptions& options,
                  const ProgressFn& progress,
                  const std::function<Status(size_t group, const Gram& gram)>& visit) {
  if (options.max_tokens > 0) {
    GramOptions all = options;
    all.max_tokens = 0;
    return VisitGrams(graph, groups, WithinBudget(examples, options.max_tokens), all, progress,
                      visit);
  }
  TRY(const std::vector<Sum> sums, PlanSums(graph, groups));
  const Graph packed = Packed(graph);
  size_t begin = 0;
  while (begin < sums.size()) {
    size_t end = begin, bytes = 0;
    do {
      bytes += sums[end].bytes();
    } while (++end < sums.size() && bytes + sums[end].bytes() <= options.memory_bytes);
    Collector collector(packed, std::span(sums).subspan(begin, end - begin));
    TRY_VOID(collector.Run(examples, options, [&](double share) {
      return progress((static_cast<double>(begin) + share * static_cast<double>(end - begin)) /
                      static_cast<double>(sums.size()));
    }));
    for (size_t s = begin; s < end; ++s) {
      const Gram gram = collector.Take(s - begin);
      for (const size_t group : sums[s].groups) TRY_VOID(visit(group, gram));
    }
    begin = end;
  }
  return {};
}

Result<std::vector<Gram>> InputGrams(const Model& model, std::span<const size_t> linears,
                                     const std::vector<train::TrainingExample>& examples,
                                     const GramOptions& options, const ProgressFn& progress) {
  std::vector<std::vector<size_t>> groups;
  for (const size_t linear : linears) groups.push_back({linear});
  std::vector<Gram> grams(linears.size());
  TRY_VOID(VisitGrams(model.graph, groups, examples, options, progress,
                      [&](size_t group, const Gram& gram) -> Status {
                        grams[group] = gram;  // shares the sums
                        return {};
                      }));
  return grams;
}

}  // namespace thimble::compress
