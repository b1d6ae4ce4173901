#include "thimble/compress/budget_search.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <utility>

#include "thimble/base/random.h"

namespace thimble::compress {
namespace {

size_t FastestLevel(const Levels& levels) {
  const auto least =
      std::min_element(levels.begin(), levels.end(),
                       [](const Level& a, const Level& b) { return a.seconds < b.seconds; });
  return static_cast<size_t>(least - levels.begin());
}

Profile FastestProfile(std::span<const Levels> structures) {
  Profile profile;
  for (const Levels& levels : structures) profile.push_back(FastestLevel(levels));
  return profile;
}

Status CheckBudget(std::span<const Levels> structures, double budget) {
  if (budget >= 0 && SecondsOf(structures, FastestProfile(structures)) <= budget) return {};
  return Error(ErrorCode::kLimitNotMet, "not even the fastest levels fit into the budget");
}

}  // namespace

double SecondsOf(std::span<const Levels> structures, const Profile& profile) {
  double seconds = 0;
  for (size_t s = 0; s < structures.size(); ++s) seconds += structures[s][profile[s]].seconds;
  return seconds;
}

Result<Profile> SolveBudget(std::span<const Levels> structures,
                            std::span<const double> coefficients, double budget, size_t buckets) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  TRY_VOID(CheckBudget(structures, budget));
  const double bucket = budget / static_cast<double>(buckets);
  // Rounding up costs each structure at most one bucket: with so many more, profiles that fill the budget to the brim
  // are seen too, and are judged by their true seconds.
  const size_t most = buckets + structures.size();
  const auto steps = [&](double seconds) {
    if (seconds <= 0) return size_t{0};
    if (bucket <= 0) return most + 1;
    return static_cast<size_t>(
        std::min(std::ceil(seconds / bucket), static_cast<double>(most + 1)));
  };
  // best[b]: the least cost of the structures so far within b buckets; taken[s][b]: the level that it takes.
  std::vector<double> best(most + 1, 0.0), next(most + 1);
  std::vector<std::vector<uint16_t>> taken(structures.size(), std::vector<uint16_t>(most + 1));
  for (size_t s = 0; s < structures.size(); ++s) {
    std::fill(next.begin(), next.end(), kInfinity);
    for (size_t k = 0; k < structures[s].size(); ++k) {
      const size_t need = steps(structures[s][k].seconds);
      const double cost = coefficients[s] * structures[s][k].cost;
      for (size_t b = need; b <= most; ++b) {
        if (best[b - need] + cost < next[b]) {
          next[b] = best[b - need] + cost;
          taken[s][b] = static_cast<uint16_t>(k);
        }
      }
    }
    std::swap(best, next);
  }
  Profile profile(structures.size());
  for (size_t end = most + 1; end-- > 0 && best[end] < kInfinity;) {
    size_t b = end;
    for (size_t s = structures.size(); s-- > 0;) {
      profile[s] = taken[s][b];
      b -= steps(structures[s][profile[s]].seconds);
    }
    if (SecondsOf(structures, profile) <= budget) return profile;
  }
  // The rounding left no room, but the fastest levels are known to fit.
  return FastestProfile(structures);
}

Result<Profile> UniformProfile(std::span<const Levels> structures, double budget) {
  TRY_VOID(CheckBudget(structures, budget));
  std::vector<double> shares;  // all at which the profile changes
  for (const Levels& levels : structures) {
    for (const Level& level : levels) {
      if (levels[0].seconds > 0) shares.push_back(level.seconds / levels[0].seconds);
    }
  }
  std::sort(shares.begin(), shares.end(), std::greater<>());
  for (const double share : shares) {
    Profile profile = FastestProfile(structures);
    for (size_t s = 0; s < structures.size(); ++s) {
      const Levels& levels = structures[s];
      for (size_t k = 0; k < levels.size(); ++k) {
        if (levels[k].seconds > share * levels[0].seconds) continue;
        profile[s] = k;
        break;
      }
    }
    if (SecondsOf(structures, profile) <= budget) return profile;
  }
  return FastestProfile(structures);
}

Result<Found> SearchBudget(std::span<const Levels> structures, double budget, const LossFn& loss,
                           const SearchOptions& options) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Found found{.profile = {}, .loss = kInfinity, .coefficients = options.start, .evaluated = 0};
  std::map<Profile, double> known;
  const auto loss_of = [&](const Profile& profile) -> Result<double> {
    if (const auto seen = known.find(profile); seen != known.end()) return seen->second;
    TRY(const double value, loss(profile, found.loss));
    known.emplace(profile, value);
    return value;
  };
  std::vector<double>& best = found.coefficients;
  if (best.empty()) best.assign(structures.size(), 1.0);
  const auto consider = [&](std::vector<double> coefficients) -> Status {
    TRY(Profile profile, SolveBudget(structures, coefficients, budget));
    TRY(const double value, loss_of(profile));
    if (value < found.loss) {
      found.profile = std::move(profile);
      found.loss = value;
      best = std::move(coefficients);
    }
    return {};
  };
  Random random(options.seed);
  TRY_VOID(consider(best));
  for (int i = 0; i < options.random; ++i) {
    std::vector<double> c(structures.size());
    for (double& x : c) x = random.Uniform();
    TRY_VOID(consider(std::move(c)));
  }
  for (int i = 0; i < options.mutations; ++i) {
    std::vector<double> c = best;
    for (double& x : c) {
      if (random.Uniform() < 0.1) x = random.Uniform();
    }
    if (!c.empty()) c[random.Below(c.size())] = random.Uniform();
    TRY_VOID(consider(std::move(c)));
  }
  TRY(Profile uniform, UniformProfile(structures, budget));
  TRY(const double value, loss_of(uniform));
  if (value < found.loss) {
    found.profile = std::move(uniform);
    found.loss = value;
  }
  if (found.loss == kInfinity) {
    return InvalidData("what the pruned model gives for the calibration texts is not finite");
  }
  found.evaluated = static_cast<int>(known.size());
  return found;
}

}  // namespace thimble::compress
