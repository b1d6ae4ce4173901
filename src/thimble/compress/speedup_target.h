// A speedup that is promised: the measured one lies in [target, (1 + slack) target].
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "thimble/base/result.h"
#include "thimble/compress/latency_table.h"

namespace thimble::compress {

// The time budget that a search of sizes gets, corrected by what its results measure until one keeps the promise.
class SpeedupTarget {
 public:
  SpeedupTarget(const LatencyTable& table, double target, double slack);

  // Seconds of the whole model, as the table adds it up.
  double budget() const { return budget_; }
  bool Kept(double factor) const;
  // Kept, and in the middle half of the interval, so that a later measurement will hardly say otherwise: a search may end.
  bool Settled(double factor) const;
  // Whether `factor` lies nearer to the middle of the interval than `other`.
  bool Better(double factor, double other) const;
  // A model within the budget measured `factor`: the next budget lies between those that were too slow and too fast,
  // and aims at the middle of the interval.
  void Correct(double factor);

 private:
  double target_, slack_, aim_, budget_, low_, high_;
};

// Sizes that meet a speedup before anything is known of the weights: of all that fit, those with the least sum over
// structures of (1 - kept share)^2, so that all fall about alike. At least one unit of each stays.
struct UniformSizes {
  std::map<std::string, int64_t> units;  // by structure
  Speedup measured;                      // of `dense` cut to them
  bool kept_promise = false;
};
double LargestUniformSpeedup(const LatencyTable& table);
// Of up to `attempts` corrected budgets the first whose result settles the promise, else what came nearest to that.
// kLimitNotMet: a target that one unit per structure is too slow for; the message names the largest.
Result<UniformSizes> SizesForSpeedup(const Model& dense, const LatencyTable& table, double target,
                                     double slack, int attempts, const TimingOptions& timing);

}  // namespace thimble::compress
