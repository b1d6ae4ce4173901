#include "thimble/compress/pruner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "thimble/base/format.h"
#include "thimble/compress/gram.h"
#include "thimble/compress/obs.h"
#include "thimble/compress/speedup_target.h"
#include "thimble/compress/torch_tensor.h"
#include "thimble/passes/shrink.h"

namespace thimble::compress {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Per unit: the norm of all that goes with it, producers' rows and consumer's columns.
std::vector<double> UnitNorms(const Graph& graph, const Structure& s) {
  std::vector<double> squares(static_cast<size_t>(s.units), 0.0);
  for (const size_t node : s.producers) {
    for (const Weight& w : graph.nodes[node].weights) {
      const std::vector<float> values = w.tensor.ToFloats();
      const size_t per_unit = values.size() / squares.size();
      for (size_t i = 0; i < values.size(); ++i) {
        squares[i / per_unit] += static_cast<double>(values[i]) * values[i];
      }
    }
  }
  const Tensor& consumer = graph.nodes[s.consumer].weights[0].tensor;
  const std::vector<float> values = consumer.ToFloats();
  const auto columns = static_cast<size_t>(consumer.dim(1));
  for (size_t i = 0; i < values.size(); ++i) {
    squares[i % columns / static_cast<size_t>(s.unit_width)] +=
        static_cast<double>(values[i]) * values[i];
  }
  for (double& x : squares) x = std::sqrt(x);
  return squares;
}

// With all dense matrices row-major; those that were one stay one.
Graph InRows(Graph graph) {
  std::map<const std::byte*, Tensor> made;
  for (Node& node : graph.nodes) {
    for (Weight& w : node.weights) {
      if (w.tensor.layout() != Layout::kPanels) continue;
      const auto [known, fresh] = made.try_emplace(w.tensor.data().data());
      if (fresh) known->second = w.tensor.InLayout(Layout::kRowMajor);
      w.tensor = known->second;
    }
  }
  return graph;
}

// Whether two graphs are copies of one.
bool SharesWeights(const Graph& a, const Graph& b) {
  return std::equal(a.nodes.begin(), a.nodes.end(), b.nodes.begin(), b.nodes.end(),
                    [](const Node& x, const Node& y) {
                      return x.name == y.name &&
                             std::equal(x.weights.begin(), x.weights.end(), y.weights.begin(),
                                        y.weights.end(), [](const Weight& v, const Weight& w) {
                                          return v.tensor.SameAs(w.tensor);
                                        });
                    });
}

}  // namespace

std::optional<PruneMethod> PruneMethodFromName(std::string_view name) {
  if (name == "ziplm") return PruneMethod::kZipLm;
  if (name == "magnitude") return PruneMethod::kMagnitude;
  return std::nullopt;
}

class Pruner::Impl {
 public:
  Impl(Model dense, const std::vector<train::TrainingExample>& examples,
       const PruneOptions& options)
      : dense_(std::move(dense)), examples_(examples), options_(options) {
    size_t tokens = 0;
    for (const train::TrainingExample& e : examples) {
      if (search_examples_.size() == options.search_samples || tokens >= options.search_tokens)
        break;
      search_examples_.push_back(e);
      tokens += e.ids.size();
    }
  }

  Status Measure(const ProgressFn& progress) {
    TRY(table_, MeasureLatencyTable(dense_, options_.timing, progress));
    return {};
  }

  const LatencyTable& table() const { return table_; }
  double largest_speedup() const { return table_.dense / std::max(table_.fixed, 1e-12); }

  Result<Pruned> PruneTo(const Graph& current, double target, const ProgressFn& progress) {
    if (!(target >= 1)) {
      return InvalidArgument("a speedup of " + FormatNumber("%.3g", target) +
                             ": targets are 1 or more");
    }
    if (target == 1) {
      return Pruned{.graph = current,
                    .target = 1,
                    .measured = {1, table_.dense, table_.dense},
                    .kept_promise = true,
                    .sizes = Sizes(current),
                    .damped = {}};
    }
    if (target > largest_speedup()) {
      return Error(ErrorCode::kLimitNotMet,
                   "a speedup of " + FormatNumber("%.3g", target) +
                       "x cannot be had: what is not prunable takes " +
                       FormatNumber("%.3g", 1e3 * table_.fixed) + " of " +
                       FormatNumber("%.3g", 1e3 * table_.dense) + " ms here, so at most " +
                       FormatNumber("%.3g", std::floor(100 * largest_speedup()) / 100) +
                       "x (longer texts, --seq, or a smaller vocabulary allow more)");
    }
    if (!prepared_ || !SharesWeights(*prepared_, current)) {
      prepared_.reset();
      TRY_VOID(Prepare(current, progress));
      prepared_ = current;
    }
    const size_t known = losses_.size();
    const auto loss = [&](const Profile& profile, double limit) -> Result<double> {
      const auto [at, fresh] = losses_.try_emplace(profile, Loss{kInfinity, -kInfinity});
      Loss& seen = at->second;
      if (!fresh && (seen.value < kInfinity || seen.at_least >= limit)) return seen.value;
      TRY_VOID(progress(1));
      TRY(const Graph graph, Stitch(current, profile));
      TRY(seen.value, distance_->To(graph, limit));
      seen.at_least = limit;
      return seen.value;
    };

    Pruned best;
    Earlier& earlier = earlier_[target];
    // The next budget is close to this one, and so is what is best for it.
    const auto shorter = [&](std::vector<double> coefficients) {
      return SearchOptions{.start = std::move(coefficients),
                           .random = 0,
                           .mutations = options_.search.mutations / 4,
                           .seed = options_.search.seed + static_cast<uint64_t>(earlier.searches)};
    };
    SearchOptions search = earlier.searches > 0 ? shorter(earlier.coefficients) : options_.search;
    SpeedupTarget promise(table_, target, options_.slack);
    if (table_.dense / target - table_.fixed < fastest_) {
      return Error(ErrorCode::kLimitNotMet, "a speedup of " + FormatNumber("%.3g", target) +
                                                "x cannot be had from what is left to prune");
    }
    double tried = -1;  // seconds of the attempt before
    for (int attempt = 1; attempt <= options_.attempts; ++attempt) {
      const double prunable = std::max(promise.budget() - table_.fixed, (1 + 1e-9) * fastest_);
      if (prunable == tried) break;  // nothing faster can be had
      tried = prunable;
      TRY(const Found found, SearchBudget(levels_, prunable, loss, search));
      ++earlier.searches;
      earlier.coefficients = found.coefficients;
      search = shorter(found.coefficients);
      Pruned pruned{.target = target,
                    .loss = found.loss,
                    .attempts = attempt,
                    .evaluated = static_cast<int>(losses_.size() - known),
                    .damped = damped_};
      TRY(pruned.graph, Stitch(current, found.profile));
      TRY(pruned.measured, MeasureSpeedup(dense_, pruned.graph, options_.timing));
      const double factor = pruned.measured.factor;
      pruned.kept_promise = promise.Kept(factor);
      pruned.sizes = Sizes(pruned.graph);
      if (best.attempts == 0 || promise.Better(factor, best.measured.factor)) {
        best = std::move(pruned);
      }
      if (promise.Settled(factor)) break;
      promise.Correct(factor);
    }
    return best;
  }

 private:
  // Snapshots of every structure of `current` at the sizes of the table.
  Status Prepare(const Graph& current, const ProgressFn& progress) {
    structures_ = FindStructures(current);
    snapshots_.assign(structures_.size(), {});
    levels_.assign(structures_.size(), {});
    damped_.clear();
    losses_.clear();
    earlier_.clear();
    fastest_ = 0;
    in_rows_ = InRows(current);
    Model now = dense_;
    now.graph = current;
    TRY(distance_, OutputDistance::Create(now, search_examples_, options_.timing.threads));
    std::vector<std::vector<size_t>> consumers;  // of every place of a structure
    for (const Structure& s : structures_) {
      consumers.push_back({s.consumer});
      for (const Structure::Place& place : s.tied) consumers.back().push_back(place.consumer);
    }
    double read = 0, done = 0;
    const auto count = static_cast<double>(structures_.size());
    const auto tell = [&] { return progress(0.3 * read + 0.6 * done / count); };
    return VisitGrams(
        current, consumers, examples_,
        {.threads = options_.timing.threads, .max_tokens = options_.gram_tokens},
        [&](double share) {
          read = share;
          return tell();
        },
        [&](size_t structure, const Gram& gram) -> Status {
          TRY_VOID(PrepareOne(current, structure, gram.sum));
          ++done;
          return tell();
        });
  }

  Status PrepareOne(const Graph& current, size_t i, const at::Tensor& gram) {
    const Structure& s = structures_[i];
    TRY(const size_t row, RowOf(s.name));
    std::vector<int64_t> counts;
    std::vector<double> seconds;
    for (size_t k = 0; k < table_.units[row].size(); ++k) {
      if (table_.units[row][k] > s.units) continue;
      counts.push_back(table_.units[row][k]);
      seconds.push_back(table_.seconds[row][k]);
    }
    if (counts.empty() || counts[0] != s.units) {
      return InvalidArgument(s.name + ": " + std::to_string(s.units) +
                             " units are no size of the dense model's table");
    }
    const at::Tensor weight = ToTorch(current.nodes[s.consumer].weights[0].tensor);
    if (options_.method == PruneMethod::kZipLm) {
      Result<ObsResult> result = StructuredObs(weight, gram, s.unit_width, counts);
      if (!result) return std::move(result).error().In(s.name);
      if (result->damped) damped_.push_back(s.name);
      snapshots_[i] = std::move(result->snapshots);
    } else {
      const std::vector<double> norms = UnitNorms(current, s);
      snapshots_[i] = StructuredMagnitude(weight, gram, s.unit_width, norms, counts);
    }
    const at::Tensor w = weight.to(at::kDouble);
    const double whole = at::mm(w, gram).mul_(w).sum().item<double>();
    for (size_t k = 0; k < counts.size(); ++k) {
      levels_[i].push_back({seconds[k], whole > 0 ? snapshots_[i][k].error / whole : 0});
    }
    fastest_ += levels_[i].back().seconds;
    return {};
  }

  // The linears of all its places.
  static std::vector<size_t> NodesOf(const Structure& s) {
    std::vector<size_t> nodes = s.producers;
    nodes.push_back(s.consumer);
    for (const Structure::Place& place : s.tied) {
      nodes.insert(nodes.end(), place.producers.begin(), place.producers.end());
      nodes.push_back(place.consumer);
    }
    return nodes;
  }

  Result<size_t> RowOf(const std::string& name) const {
    for (size_t s = 0; s < table_.structures.size(); ++s) {
      if (table_.structures[s].name == name) return s;
    }
    return InvalidArgument("the dense model has no structure " + name);
  }

  Result<Graph> Stitch(const Graph& current, const Profile& profile) const {
    std::vector<Kept> kept;
    Graph whole = current;
    for (size_t i = 0; i < structures_.size(); ++i) {
      if (profile[i] == 0) continue;  // as it is
      for (const size_t node : NodesOf(structures_[i])) {
        whole.nodes[node].weights = in_rows_.nodes[node].weights;
      }
      const Snapshot& s = snapshots_[i][profile[i]];
      kept.push_back({structures_[i].name, s.units, {}});
      if (!s.units.empty()) kept.back().consumer_weight = FromTorch(s.weight);
    }
    return Shrink(whole, kept);
  }

  std::vector<PrunedSize> Sizes(const Graph& graph) const {
    std::map<std::string, int64_t> left;
    for (const Structure& s : FindStructures(graph)) left[s.name] = s.units;
    std::vector<PrunedSize> sizes;
    for (const Structure& s : table_.structures) sizes.push_back({s.name, left[s.name], s.units});
    return sizes;
  }

  Model dense_;
  const std::vector<train::TrainingExample>& examples_;
  std::vector<train::TrainingExample> search_examples_;
  PruneOptions options_;
  LatencyTable table_;
  // Of the graph that is being pruned, once Prepare has seen it.
  std::optional<Graph> prepared_;
  // With all matrices row-major: what Shrink cuts without unpacking it for every candidate.
  Graph in_rows_;
  std::vector<Structure> structures_;
  std::vector<std::vector<Snapshot>> snapshots_;
  std::vector<Levels> levels_;
  std::vector<std::string> damped_;
  double fastest_ = 0;
  std::optional<OutputDistance> distance_;
  struct Loss {
    double value;     // or infinity:
    double at_least;  // this, which was no better than the best then
  };
  std::map<Profile, Loss> losses_;
  struct Earlier {
    std::vector<double> coefficients;
    int searches = 0;
  };
  std::map<double, Earlier> earlier_;  // by target
};

Pruner::Pruner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pruner::Pruner(Pruner&&) noexcept = default;
Pruner& Pruner::operator=(Pruner&&) noexcept = default;
Pruner::~Pruner() = default;

Result<Pruner> Pruner::Create(Model dense, const std::vector<train::TrainingExample>& examples,
                              const PruneOptions& options, const ProgressFn& progress) {
  auto impl = std::make_unique<Impl>(std::move(dense), examples, options);
  TRY_VOID(impl->Measure(progress));
  return Pruner(std::move(impl));
}

const LatencyTable& Pruner::table() const { return impl_->table(); }
double Pruner::largest_speedup() const { return impl_->largest_speedup(); }
Result<Pruned> Pruner::PruneTo(const Graph& current, double target, const ProgressFn& progress) {
  return impl_->PruneTo(current, target, progress);
}

}  // namespace thimble::compress
