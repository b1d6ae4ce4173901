// What each structure of a model costs at each size, measured on this machine in the runtime that will run it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/compress/calibration.h"
#include "thimble/formats/model.h"
#include "thimble/passes/shrink.h"
#include "thimble/passes/structures.h"

namespace thimble::compress {

struct TimingOptions {
  size_t tokens = 128;  // of each sequence
  size_t batch = 1;     // sequences per run
  int threads = 1;
  // Of a candidate and the dense model in turns. At least five and no more where runs are so long that all would take more
  // than three times what is said below.
  int rounds = 15;
  double seconds_per_time =
      0.01;  // of each timing, three times as long for a promise; at least one run
};

struct LatencyTable {
  std::vector<Structure> structures;
  // Per structure: units to keep, falling from all of them, and the seconds that the structure takes with so many,
  // 0 for the last. The last is 0 units, or 1 where the sub-layer cannot go. Fewer units never count as slower.
  // What the last attention before a pooled first token takes is what its heads take: that without it the layers below
  // it run on one token too is not counted.
  std::vector<std::vector<int64_t>> units;
  std::vector<std::vector<double>> seconds;
  double dense = 0;  // seconds of a run of the whole model
  double fixed = 0;  // what is left of them with every structure at its last size
  // The model with every structure at about half its units: measured, and as the table adds it up.
  double half_measured = 0, half_from_table = 0;
};

// Per structure: whether its last place in the graph runs on one token of each sequence, the only one that is read.
std::vector<bool> OnFirstTokens(const Graph& graph, std::span<const Structure> structures);

// Times the model with all structures of one shape that run on as many tokens at each size, in turns with the dense one;
// they share what their sum takes, scaled so that the sum over all structures is dense - fixed. Sizes of columns are
// whole panels of the kernels, shares of 0.9, 0.81, ...
Result<LatencyTable> MeasureLatencyTable(const Model& model, const TimingOptions& options,
                                         const ProgressFn& progress);

// The first `count` units of a structure: as fast as any others.
Kept FirstUnits(const Structure& structure, int64_t count);

// Median over rounds of seconds(dense) / seconds(other), in turns, and both medians.
struct Speedup {
  double factor = 1, dense_seconds = 0, seconds = 0;
};
Result<Speedup> MeasureSpeedup(const Model& dense, const Graph& other,
                               const TimingOptions& options);
// Of several, all of them in every round, so that they can be compared with each other.
Result<std::vector<Speedup>> MeasureSpeedups(const Model& dense,
                                             const std::vector<const Graph*>& others,
                                             const TimingOptions& options);

}  // namespace thimble::compress
