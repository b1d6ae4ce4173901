// How much of each structure to keep, for a time budget.
//
// Every structure has levels, from whole to gone, with a time (measured) and a prior cost (its relative squared error).
// For coefficients c, the dynamic program finds the levels with the least sum of c[s] * cost that are within the budget;
// a random local search over c then follows the loss of the real model (SPDY, Frantar and Alistarh 2022; ZipLM, Kurtic
// et al. 2023).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "thimble/base/result.h"

namespace thimble::compress {

struct Level {
  double seconds = 0;
  double cost = 0;
};
using Levels = std::vector<Level>;    // of one structure
using Profile = std::vector<size_t>;  // the level of each structure

double SecondsOf(std::span<const Levels> structures, const Profile& profile);

// The profile with the least sum of coefficients[s] * cost whose seconds are at most `budget`. Times are rounded up to
// a bucket of budget / `buckets` and the sum is checked, so that the budget is never exceeded; the cost is the least there
// is within a budget smaller by one bucket per structure. kLimitNotMet: not even the fastest levels fit.
Result<Profile> SolveBudget(std::span<const Levels> structures,
                            std::span<const double> coefficients, double budget,
                            size_t buckets = 10000);

// Every structure at its largest level that takes no more than one share, the same for all, of its seconds at level
// 0: the largest share that is within the budget. What one does without knowing which structure matters.
// kLimitNotMet: not even the fastest levels fit.
Result<Profile> UniformProfile(std::span<const Levels> structures, double budget);

struct SearchOptions {
  std::vector<double> start;  // tried first, one coefficient per structure; empty: equal ones
  int random = 16;            // coefficient vectors drawn uniformly
  int mutations =
      48;  // steps from the best, every coordinate redrawn with probability 0.1 (at least one is)
  uint64_t seed = 1;
};

struct Found {
  Profile profile;
  double loss = 0;
  std::vector<double> coefficients;  // the best; the uniform profile may be better still
  int evaluated = 0;                 // profiles that differed
};

// The loss of a profile, or infinity where that is at least `limit`: what is no better than the best so far need not be
// known exactly.
using LossFn = std::function<Result<double>(const Profile&, double limit)>;

// `loss` is asked once per profile. The uniform profile is tried too, so that the result is never worse. kInvalidData:
// no loss is a finite number.
Result<Found> SearchBudget(std::span<const Levels> structures, double budget, const LossFn& loss,
                           const SearchOptions& options);

}  // namespace thimble::compress
