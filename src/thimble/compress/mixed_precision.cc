#include "thimble/compress/mixed_precision.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace thimble::compress {
namespace {

bool Changes(const Graph& graph, const Graph& quantized, size_t node) {
  const std::vector<Weight>& weights = graph.nodes[node].weights;
  return !weights.empty() &&
         weights[0].tensor.dtype() != quantized.nodes[node].weights[0].tensor.dtype();
}

// Linears of one shape take the same time.
using ShapeClass = std::tuple<bool, int64_t, int64_t>;  // a linear or not, rows, columns

struct Group {
  std::vector<size_t> nodes;
  ShapeClass shape;
};

std::vector<Group> FindGroups(const Graph& graph, const Graph& quantized) {
  std::vector<Group> groups;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!Changes(graph, quantized, i)) continue;
    const Tensor& weight = graph.nodes[i].weights[0].tensor;
    const auto known = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
      return graph.nodes[g.nodes[0]].weights[0].tensor.SameAs(weight);
    });
    if (known != groups.end()) {
      known->nodes.push_back(i);
    } else {
      const bool linear = graph.nodes[i].op == OpKind::kLinear;
      groups.push_back({{i}, {linear, weight.dim(0), weight.dim(1)}});
    }
  }
  return groups;
}

template <class Chosen>
Graph With(const Graph& graph, const Graph& quantized, const std::vector<Group>& groups,
           const Chosen& chosen) {
  Graph result = graph;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!chosen(g)) continue;
    for (const size_t node : groups[g].nodes) result.nodes[node] = quantized.nodes[node];
  }
  return result;
}

class Chooser {
 public:
  Chooser(const Model& model, const Graph& quantized, const ScoreFn& score,
          const PrecisionOptions& options, const ProgressFn& progress)
      : model_(model),
        quantized_(quantized),
        score_(score),
        options_(options),
        progress_(progress),
        groups_(FindGroups(model.graph, quantized)) {}

  Result<PrecisionPlan> Run(const OutputDistance& distance) && {
    TRY(plan_.groups, MeasureLosses(model_, quantized_, distance,
                                    [&](double share) { return progress_(0.4 * share); }));
    TRY(plan_.score_float, score_(model_.graph));
    const Graph all = Quantized([](size_t) { return true; });
    TRY(plan_.score_all, score_(all));
    TRY_VOID(MeasureTimes());
    TRY_VOID(Choose());
    if (options_.smaller_tables != nullptr) TRY_VOID(ChooseSmallerTables());
    TRY(const std::vector<Speedup> times,
        MeasureSpeedups(model_, {&all, &plan_.graph}, options_.timing));
    plan_.all = times[0];
    plan_.mixed = times[1];
    if (options_.only_where_faster) KeepPromise(all);
    return std::move(plan_);
  }

 private:
  template <class Chosen>
  Graph Quantized(const Chosen& chosen) const {
    return With(model_.graph, quantized_, groups_, chosen);
  }

  Status MeasureTimes() {
    std::map<ShapeClass, std::vector<size_t>> classes;
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (std::get<0>(groups_[g].shape)) classes[groups_[g].shape].push_back(g);
    }
    double done = 0;
    for (const auto& [shape, members] : classes) {
      const Graph graph = Quantized(
          [&](size_t g) { return std::find(members.begin(), members.end(), g) != members.end(); });
      TRY(const Speedup speedup, MeasureSpeedup(model_, graph, options_.timing));
      for (const size_t g : members) plan_.groups[g].speedup = speedup.factor;
      TRY_VOID(progress_(0.4 + 0.4 * ++done / static_cast<double>(classes.size())));
    }
    return {};
  }

  Status Choose() {
    std::vector<size_t> wanted;
    for (size_t g = 0; g < groups_.size(); ++g) {
      const bool table = !std::get<0>(groups_[g].shape);
      if (table || !options_.only_where_faster || plan_.groups[g].speedup > 1) wanted.push_back(g);
    }
    // Those that cost least first: a plan is how many of them are quantized.
    std::stable_sort(wanted.begin(), wanted.end(), [&](size_t a, size_t b) {
      return plan_.groups[a].loss < plan_.groups[b].loss;
    });
    const auto fits = [&](size_t count) -> Result<bool> {
      const auto end = wanted.begin() + static_cast<std::ptrdiff_t>(count);
      plan_.graph = Quantized([&](size_t g) { return std::find(wanted.begin(), end, g) != end; });
      TRY(plan_.score, score_(plan_.graph));
      TRY_VOID(progress_(0.9));
      return Fits(plan_.score);
    };
    size_t good = 0, bad = wanted.size();
    TRY(const bool all, fits(wanted.size()));
    if (all) good = bad;
    while (bad - good > 1) {
      const size_t middle = good + (bad - good) / 2;
      TRY(const bool ok, fits(middle));
      (ok ? good : bad) = middle;
    }
    TRY_VOID(fits(good));
    for (size_t i = 0; i < good; ++i) plan_.groups[wanted[i]].quantized = true;
    return {};
  }

  Status ChooseSmallerTables() {
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (std::get<0>(groups_[g].shape) || !plan_.groups[g].quantized) continue;
      Graph graph = plan_.graph;
      for (const size_t node : groups_[g].nodes) {
        graph.nodes[node] = options_.smaller_tables->nodes[node];
      }
      TRY(const double score, score_(graph));
      if (!Fits(score)) continue;
      plan_.graph = std::move(graph);
      plan_.score = score;
    }
    return {};
  }

  bool Fits(double score) const { return plan_.score_float - score <= options_.max_drop; }

  void KeepPromise(const Graph& all) {
    const bool all_fits = Fits(plan_.score_all);
    const double better = std::max(1.0, all_fits ? plan_.all.factor : 1.0);
    if (plan_.mixed.factor >= better) return;
    plan_.replaced = true;
    const bool to_all = all_fits && plan_.all.factor > 1;
    plan_.graph = to_all ? all : model_.graph;
    plan_.score = to_all ? plan_.score_all : plan_.score_float;
    plan_.mixed =
        to_all ? plan_.all : Speedup{1, plan_.mixed.dense_seconds, plan_.mixed.dense_seconds};
    for (PrecisionGroup& group : plan_.groups) group.quantized = to_all;
  }

  const Model& model_;
  const Graph& quantized_;
  const ScoreFn& score_;
  const PrecisionOptions& options_;
  const ProgressFn& progress_;
  const std::vector<Group> groups_;
  PrecisionPlan plan_;
};

}  // namespace

Result<std::vector<PrecisionGroup>> MeasureLosses(const Model& model, const Graph& quantized,
                                                  const OutputDistance& distance,
                                                  const ProgressFn& progress) {
  const std::vector<Group> groups = FindGroups(model.graph, quantized);
  if (groups.empty()) {
    return Unsupported("the model has no float32 or float16 matrix that could be quantized");
  }
  std::vector<PrecisionGroup> result(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const size_t node : groups[g].nodes) {
      result[g].nodes.push_back(model.graph.nodes[node].name);
    }
    const Graph alone =
        With(model.graph, quantized, groups, [&](size_t other) { return other == g; });
    TRY(result[g].loss, distance.To(alone));
    TRY_VOID(progress(static_cast<double>(g + 1) / static_cast<double>(groups.size())));
  }
  return result;
}

Result<PrecisionPlan> ChoosePrecision(const Model& model, const Graph& quantized,
                                      const OutputDistance& distance, const ScoreFn& score,
                                      const PrecisionOptions& options, const ProgressFn& progress) {
  return Chooser(model, quantized, score, options, progress).Run(distance);
}

}  // namespace thimble::compress
