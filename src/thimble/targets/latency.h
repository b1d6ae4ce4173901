// Timing of a session on this machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/runtime/session.h"

namespace thimble {

struct LatencyOptions {
  double seconds = 2;  // of measuring, after the warm-up
  int warmup_runs = 3;
  int runs = 0;  // exactly so many; 0: as many as fit into `seconds`, at least 5
};

// Run times, shortest first.
class Latency {
 public:
  explicit Latency(std::vector<double> seconds);

  size_t runs() const { return seconds_.size(); }
  double min() const { return seconds_.front(); }
  // q in [0, 1]; the shortest time that at least that share of the runs did not exceed.
  double quantile(double q) const;
  double median() const { return quantile(0.5); }
  double mean() const;

 private:
  std::vector<double> seconds_;
};

Result<Latency> MeasureLatency(Session& session, const Batch& batch, const LatencyOptions& options);

// `sequences` sequences of `length` random ids each, within the tables of `graph`: the same for the same
// numbers on every machine.
Batch RandomBatch(const Graph& graph, size_t sequences, size_t length, uint32_t seed = 1);

}  // namespace thimble
