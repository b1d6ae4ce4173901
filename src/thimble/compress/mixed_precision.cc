#include "thimble/compress/mixed_precision.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "thimble/passes/weights_to_int8.h"

namespace thimble::compress {
namespace {

class Chooser {
 public:
  Chooser(const Model& model, const OutputDistance& distance,
          const std::function<Result<double>(const Graph&)>& score, const PrecisionOptions& options,
          const ProgressFn& progress)
      : model_(model), distance_(distance), score_(score), options_(options), progress_(progress) {}

  Result<PrecisionPlan> Run() && {
    FindGroups();
    if (plan_.groups.empty()) {
      return Unsupported("the model has no float32 or float16 matrix that could become int8");
    }
    TRY(plan_.score_float, score_(model_.graph));
    TRY(const Graph all, With([](size_t) { return true; }));
    TRY(plan_.score_int8, score_(all));
    TRY_VOID(MeasureLosses());
    TRY_VOID(MeasureTimes());
    TRY_VOID(Choose());
    TRY(plan_.all_int8, MeasureSpeedup(model_, all, options_.timing));
    TRY(plan_.mixed, MeasureSpeedup(model_, plan_.graph, options_.timing));
    return std::move(plan_);
  }

 private:
  void FindGroups() {
    const Graph& graph = model_.graph;
    std::vector<const Tensor*> weights;
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      const Node& node = graph.nodes[i];
      if (!BecomesInt8(graph, node) || node.weights[0].tensor.dtype() == DType::kI8) continue;
      const Tensor& weight = node.weights[0].tensor;
      const auto known = std::find_if(weights.begin(), weights.end(),
                                      [&](const Tensor* w) { return w->SameAs(weight); });
      const auto place = static_cast<size_t>(known - weights.begin());
      if (known == weights.end()) {
        weights.push_back(&weight);
        plan_.groups.emplace_back();
        shapes_.push_back({node.op == OpKind::kLinear, weight.dim(0), weight.dim(1)});
      }
      plan_.groups[place].nodes.push_back(node.name);
    }
  }

  template <class Chosen>
  Result<Graph> With(const Chosen& chosen) const {
    std::set<std::string_view> names;
    for (size_t g = 0; g < plan_.groups.size(); ++g) {
      if (chosen(g)) names.insert(plan_.groups[g].nodes.begin(), plan_.groups[g].nodes.end());
    }
    return WeightsToInt8Where(model_.graph,
                              [&](const Node& node) { return names.contains(node.name); });
  }

  Status MeasureLosses() {
    for (size_t g = 0; g < plan_.groups.size(); ++g) {
      TRY(const Graph graph, With([&](size_t other) { return other == g; }));
      TRY(plan_.groups[g].loss, distance_.To(graph));
      TRY_VOID(
          progress_(0.4 * static_cast<double>(g + 1) / static_cast<double>(plan_.groups.size())));
    }
    return {};
  }

  // Linears of one shape take the same time; they are timed together.
  Status MeasureTimes() {
    std::map<Shape3, std::vector<size_t>> classes;
    for (size_t g = 0; g < shapes_.size(); ++g) {
      if (std::get<0>(shapes_[g])) classes[shapes_[g]].push_back(g);
    }
    double done = 0;
    for (const auto& [shape, members] : classes) {
      TRY(const Graph graph, With([&](size_t g) {
            return std::find(members.begin(), members.end(), g) != members.end();
          }));
      TRY(const Speedup speedup, MeasureSpeedup(model_, graph, options_.timing));
      for (const size_t g : members) plan_.groups[g].speedup = speedup.factor;
      TRY_VOID(progress_(0.4 + 0.4 * ++done / static_cast<double>(classes.size())));
    }
    return {};
  }

  Status Choose() {
    std::vector<size_t> wanted;
    for (size_t g = 0; g < plan_.groups.size(); ++g) {
      const bool table = !std::get<0>(shapes_[g]);
      if (table || !options_.only_where_faster || plan_.groups[g].speedup > 1) wanted.push_back(g);
    }
    // Those that cost least first: a plan is how many of them are int8.
    std::stable_sort(wanted.begin(), wanted.end(), [&](size_t a, size_t b) {
      return plan_.groups[a].loss < plan_.groups[b].loss;
    });
    const auto graph_of = [&](size_t count) {
      return With([&](size_t g) {
        return std::find(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(count), g) !=
               wanted.begin() + static_cast<std::ptrdiff_t>(count);
      });
    };
    const auto fits = [&](size_t count) -> Result<bool> {
      TRY(plan_.graph, graph_of(count));
      TRY(plan_.score, score_(plan_.graph));
      TRY_VOID(progress_(0.9));
      return plan_.score_float - plan_.score <= options_.max_drop;
    };
    size_t good = 0, bad = wanted.size();
    TRY(const bool all, fits(wanted.size()));
    if (all) good = bad;
    while (bad - good > 1) {
      const size_t middle = good + (bad - good) / 2;
      TRY(const bool ok, fits(middle));
      (ok ? good : bad) = middle;
    }
    TRY(plan_.graph, graph_of(good));
    TRY(plan_.score, score_(plan_.graph));
    for (size_t i = 0; i < good; ++i) plan_.groups[wanted[i]].int8 = true;
    return {};
  }

  using Shape3 = std::tuple<bool, int64_t, int64_t>;  // a linear or not, rows, columns

  const Model& model_;
  const OutputDistance& distance_;
  const std::function<Result<double>(const Graph&)>& score_;
  const PrecisionOptions& options_;
  const ProgressFn& progress_;
  std::vector<Shape3> shapes_;  // per group
  PrecisionPlan plan_;
};

}  // namespace

Result<PrecisionPlan> ChoosePrecision(const Model& model, const OutputDistance& distance,
                                      const std::function<Result<double>(const Graph&)>& score,
                                      const PrecisionOptions& options, const ProgressFn& progress) {
  return Chooser(model, distance, score, options, progress).Run();
}

}  // namespace thimble::compress
