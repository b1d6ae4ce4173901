#include "thimble/targets/latency.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "thimble/base/clock.h"

namespace thimble {
namespace {

constexpr size_t kFewestRuns = 5;

// Rows of the smallest table that `input` looks up in; 1 where nothing does.
int64_t IdLimit(const Graph& graph, ValueId input) {
  int64_t limit = std::numeric_limits<int64_t>::max();
  for (const Node& node : graph.nodes) {
    if (node.op == OpKind::kEmbedding && node.inputs[0] == input) {
      limit = std::min(limit, node.weights[0].tensor.dim(0));
    }
  }
  return limit == std::numeric_limits<int64_t>::max() ? 1 : limit;
}

}  // namespace

Latency::Latency(std::vector<double> seconds) : seconds_(std::move(seconds)) {
  THIMBLE_CHECK(!seconds_.empty());
  std::sort(seconds_.begin(), seconds_.end());
}

double Latency::quantile(double q) const {
  const double rank = std::ceil(q * static_cast<double>(seconds_.size()));
  return seconds_[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

double Latency::mean() const {
  return std::accumulate(seconds_.begin(), seconds_.end(), 0.0) /
         static_cast<double>(seconds_.size());
}

Result<Latency> MeasureLatency(Session& session, const Batch& batch,
                               const LatencyOptions& options) {
  for (int i = 0; i < options.warmup_runs; ++i) TRY_VOID(session.Run(batch));
  std::vector<double> seconds;
  const auto enough = [&, start = Clock::now()] {
    if (options.runs > 0) return seconds.size() >= static_cast<size_t>(options.runs);
    return seconds.size() >= kFewestRuns && SecondsSince(start) >= options.seconds;
  };
  while (!enough()) {
    const auto start = Clock::now();
    TRY_VOID(session.Run(batch));
    seconds.push_back(SecondsSince(start));
  }
  return Latency(std::move(seconds));
}

Batch RandomBatch(const Graph& graph, size_t sequences, size_t length, uint32_t seed) {
  int64_t ids = 1, types = 1;
  for (const ValueId input : graph.inputs) {
    (graph.value(input).name == kTokenTypeIds ? types : ids) = IdLimit(graph, input);
  }
  std::mt19937 rng(seed);
  Batch batch;
  std::vector<int32_t> sequence_ids(length), sequence_types(length);
  for (size_t s = 0; s < sequences; ++s) {
    for (size_t t = 0; t < length; ++t) {
      sequence_ids[t] = static_cast<int32_t>(rng() % static_cast<uint64_t>(ids));
      sequence_types[t] = t >= length / 2 && types > 1 ? 1 : 0;
    }
    batch.Add(sequence_ids, sequence_types);
  }
  return batch;
}

}  // namespace thimble
