#include "thimble/compress/speedup_target.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "thimble/base/check.h"
#include "thimble/base/format.h"
#include "thimble/compress/budget_search.h"
#include "thimble/passes/shrink.h"

namespace thimble::compress {
namespace {

// Of each structure, the sizes that keep a unit.
std::vector<Levels> LevelsOf(const LatencyTable& table) {
  std::vector<Levels> levels(table.structures.size());
  for (size_t s = 0; s < levels.size(); ++s) {
    const std::vector<int64_t>& units = table.units[s];
    for (size_t k = 0; k < units.size() && units[k] > 0; ++k) {
      const double gone = 1 - static_cast<double>(units[k]) / static_cast<double>(units[0]);
      levels[s].push_back({table.seconds[s][k], gone * gone});
    }
  }
  return levels;
}

double LeastSeconds(const LatencyTable& table) {
  double seconds = table.fixed;
  for (const Levels& levels : LevelsOf(table)) seconds += levels.back().seconds;
  return seconds;
}

}  // namespace

SpeedupTarget::SpeedupTarget(const LatencyTable& table, double target, double slack)
    : target_(target),
      slack_(slack),
      aim_(target * (1 + 0.5 * slack)),
      budget_(table.dense / aim_),
      low_(table.fixed),
      high_(table.dense) {}

bool SpeedupTarget::Kept(double factor) const {
  return factor >= target_ && factor <= (1 + slack_) * target_;
}

bool SpeedupTarget::Settled(double factor) const {
  return std::abs(factor - aim_) <= 0.25 * slack_ * target_;
}

bool SpeedupTarget::Better(double factor, double other) const {
  return std::abs(factor - aim_) < std::abs(other - aim_);
}

void SpeedupTarget::Correct(double factor) {
  (factor < aim_ ? high_ : low_) = budget_;
  const double margin = 0.05 * (high_ - low_);
  budget_ = std::clamp(budget_ * factor / aim_, low_ + margin, high_ - margin);
}

double LargestUniformSpeedup(const LatencyTable& table) {
  return table.dense / std::max(LeastSeconds(table), 1e-12);
}

Result<UniformSizes> SizesForSpeedup(const Model& dense, const LatencyTable& table, double target,
                                     double slack, int attempts, const TimingOptions& timing) {
  THIMBLE_CHECK(attempts > 0);
  if (target > LargestUniformSpeedup(table)) {
    return Error(ErrorCode::kLimitNotMet,
                 "a speedup of " + FormatNumber("%.3g", target) +
                     "x cannot be had while every structure keeps a unit: at most " +
                     FormatNumber("%.3g", std::floor(100 * LargestUniformSpeedup(table)) / 100) +
                     "x here (--method ziplm can take whole structures)");
  }
  const std::vector<Levels> levels = LevelsOf(table);
  const std::vector<double> equal(levels.size(), 1.0);
  SpeedupTarget promise(table, target, slack);
  std::optional<UniformSizes> best;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const double seconds = std::max(promise.budget(), LeastSeconds(table)) - table.fixed;
    TRY(const Profile profile, SolveBudget(levels, equal, seconds));
    UniformSizes sizes;
    std::vector<Kept> kept;
    for (size_t s = 0; s < levels.size(); ++s) {
      const int64_t units = table.units[s][profile[s]];
      sizes.units[table.structures[s].name] = units;
      kept.push_back(FirstUnits(table.structures[s], units));
    }
    TRY(const Graph graph, Shrink(dense.graph, kept));
    TRY(sizes.measured, MeasureSpeedup(dense, graph, timing));
    const double factor = sizes.measured.factor;
    sizes.kept_promise = promise.Kept(factor);
    if (!best || promise.Better(factor, best->measured.factor)) best = std::move(sizes);
    if (promise.Settled(factor)) break;
    promise.Correct(factor);
  }
  return *std::move(best);
}

}  // namespace thimble::compress
