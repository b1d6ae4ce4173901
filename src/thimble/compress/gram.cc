#include "thimble/compress/gram.h"

#include <algorithm>
#include <string>

#include "thimble/formats/thimble/packed.h"

namespace thimble::compress {
namespace {

constexpr size_t kBatchTokens = 2048;

class Collector {
 public:
  Collector(const Model& model, const std::vector<train::TrainingExample>& examples,
            const GramOptions& options)
      : model_(model), examples_(examples), options_(options) {}

  // Of linears[begin, end).
  Status Collect(std::span<const size_t> linears, std::span<Gram> grams,
                 const ProgressFn& progress) {
    Model model = model_;
    // Linears that read the same value share one sum.
    std::vector<ValueId> values;
    std::vector<size_t> source;
    for (const size_t node : linears) {
      const ValueId value = model_.graph.nodes[node].inputs[0];
      const auto known = std::find(values.begin(), values.end(), value);
      source.push_back(static_cast<size_t>(known - values.begin()));
      if (known == values.end()) values.push_back(value);
    }
    std::vector<std::string> names;
    for (size_t i = 0; i < values.size(); ++i) {
      names.push_back("gram." + std::to_string(i));
      model.graph.outputs.push_back({names.back(), values[i]});
    }
    TRY(const Model packed, Packed(model));
    TRY(Session session,
        Session::Create(packed.graph, {.threads = options_.threads, .outputs = names}));
    std::vector<Gram> sums(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const int64_t width = model_.graph.value(values[i]).type.width;
      sums[i].sum = at::zeros({width, width}, at::kDouble);
    }
    size_t done = 0;
    const auto add = [&](const Batch& batch) -> Status {
      TRY_VOID(session.Run(batch));
      for (size_t i = 0; i < sums.size(); ++i) {
        const OutputView view = session.output(i);
        const at::Tensor x = at::empty(
            {static_cast<int64_t>(view.rows), static_cast<int64_t>(view.width)}, at::kDouble);
        auto* out = x.data_ptr<double>();
        for (size_t r = 0; r < view.rows; ++r) {
          out = std::copy(view.row(r).begin(), view.row(r).end(), out);
        }
        sums[i].sum.addmm_(x.t(), x);
        sums[i].rows += x.size(0);
      }
      done += batch.sequences();
      return progress(static_cast<double>(done) / static_cast<double>(examples_.size()));
    };
    TRY_VOID(ForEachBatch(examples_, kBatchTokens, add));
    for (size_t i = 0; i < linears.size(); ++i) grams[i] = sums[source[i]];
    return {};
  }

 private:
  const Model& model_;
  const std::vector<train::TrainingExample>& examples_;
  const GramOptions& options_;
};

}  // namespace

Result<std::vector<Gram>> InputGrams(const Model& model, std::span<const size_t> linears,
                                     const std::vector<train::TrainingExample>& examples,
                                     const GramOptions& options, const ProgressFn& progress) {
  std::vector<Gram> grams(linears.size());
  Collector collector(model, examples, options);
  size_t begin = 0;
  while (begin < linears.size()) {
    size_t bytes = 0, end = begin;
    do {
      const auto width =
          static_cast<size_t>(model.graph.nodes[linears[end]].weights[0].tensor.dim(1));
      bytes += width * width * sizeof(double);
    } while (++end < linears.size() && bytes < options.memory_bytes);
    const auto share = [&](double of_group) {
      return progress((static_cast<double>(begin) + of_group * static_cast<double>(end - begin)) /
                      static_cast<double>(linears.size()));
    };
    TRY_VOID(collector.Collect(linears.subspan(begin, end - begin),
                               std::span(grams).subspan(begin, end - begin), share));
    begin = end;
  }
  return grams;
}

}  // namespace thimble::compress
