// Structured pruning to speedups that are measured: latency table, removal by OBS or by magnitude, search for the sizes
// that meet a time budget at the least loss (ZipLM, Kurtic et al. 2023).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/compress/budget_search.h"
#include "thimble/compress/calibration.h"
#include "thimble/compress/latency_table.h"
#include "thimble/formats/model.h"

namespace thimble::compress {

enum class PruneMethod : uint8_t {
  kZipLm,      // OBS: the rest is refitted to what was there
  kMagnitude,  // the units with the smallest weights go: the baseline
};
std::optional<PruneMethod> PruneMethodFromName(std::string_view name);

struct PruneOptions {
  PruneMethod method = PruneMethod::kZipLm;
  TimingOptions timing;
  SearchOptions search;
  // Of the calibration texts, in their order: for the second moments (some ten tokens per column), and for the loss of a
  // candidate.
  size_t gram_tokens = 32768;
  size_t search_samples = 256, search_tokens = 8192;
  // The promise: the measured speedup lies in [target, (1 + slack) target]. Where it does not lie in the middle half of
  // that, the budget is corrected by what was measured and a shorter search made from what was found, until there were so
  // many; what came nearest to the middle counts.
  double slack = 0.1;
  int attempts = 6;
};

struct PrunedSize {
  std::string structure;
  int64_t units = 0, dense_units = 0;
};

struct Pruned {
  Graph graph;
  double target = 1;
  Speedup measured;
  bool kept_promise = false;
  double loss = 0;                  // OutputDistance from the dense model
  int attempts = 0, evaluated = 0;  // searches, and profiles whose loss was taken
  std::vector<PrunedSize> sizes;
  std::vector<std::string> damped;  // structures whose Hessian was
};

// Prunes one dense model, whose table is measured once. What several targets need of one graph is computed once.
// Not thread-safe.
class Pruner {
 public:
  // `examples` must outlive the pruner.
  static Result<Pruner> Create(Model dense, const std::vector<train::TrainingExample>& examples,
                               const PruneOptions& options, const ProgressFn& progress);
  Pruner(Pruner&&) noexcept;
  Pruner& operator=(Pruner&&) noexcept;
  ~Pruner();

  const LatencyTable& table() const;
  // The largest target that is possible here, by the table.
  double largest_speedup() const;

  // `current` is the dense model's graph, or what an earlier, smaller target and training after it made of it: its
  // structures have the same names. The loss is the distance from `current` there. 1 gives `current`. kInvalidArgument:
  // a target below 1; kLimitNotMet: one above largest_speedup(), which the message names. A target that is asked for again
  // on the same graph is searched from what was found for it, and sooner.
  Result<Pruned> PruneTo(const Graph& current, double target, const ProgressFn& progress);

 private:
  class Impl;
  explicit Pruner(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace thimble::compress
