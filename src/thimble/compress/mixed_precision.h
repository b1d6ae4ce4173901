// Which weights are quantized: those where it is faster here, but for those that cost too much of the answers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/compress/calibration.h"
#include "thimble/compress/latency_table.h"
#include "thimble/formats/model.h"

namespace thimble::compress {

// Nodes that are converted together: one, or several that share a weight.
struct PrecisionGroup {
  std::vector<std::string> nodes;
  double loss = 0;  // OutputDistance of the model with these alone quantized
  double speedup =
      1;  // of the model with all groups of this shape quantized, measured; tables of words: 1, not measured
  bool quantized = false;  // chosen
};

struct PrecisionPlan {
  std::vector<PrecisionGroup> groups;  // in execution order
  Graph graph;                         // with the chosen ones quantized
  double score_float = 0, score_all = 0,
         score = 0;    // of the float model, of all groups quantized, of `graph`
  Speedup all, mixed;  // against the float model, the three in turns
  bool replaced =
      false;  // the choice was measured to be slower than all or nothing, whose graph and time are given
};

struct PrecisionOptions {
  TimingOptions timing;
  double max_drop = 0.01;         // of the score, absolute
  bool only_where_faster = true;  // false: wherever the score allows it, for size
  // The same nodes in a type that is smaller still: taken for each table that was chosen, in turn, where the score
  // allows it too. Null: none.
  const Graph* smaller_tables = nullptr;
};

using ScoreFn = std::function<Result<double>(const Graph&)>;

// The groups whose weights `quantized`, which has the nodes of `model`, has in another type, with the loss of each: the
// cost of its own weight, scale of inputs and bias. kUnsupported: there are none.
Result<std::vector<PrecisionGroup>> MeasureLosses(const Model& model, const Graph& quantized,
                                                  const OutputDistance& distance,
                                                  const ProgressFn& progress);

// Starts with every group quantized that is measured to be faster so (and the table of words, which gets smaller and
// not slower), and takes those with the largest loss back until `score` has fallen by at most max_drop. How many is
// found by bisection, as if more float were never worse; the result's own score is checked. `score` is asked a dozen
// times. With only_where_faster the result is never measured slower than the float model, nor than all groups
// quantized where that keeps to max_drop: where it would be, it is the faster of these.
Result<PrecisionPlan> ChoosePrecision(const Model& model, const Graph& quantized,
                                      const OutputDistance& distance, const ScoreFn& score,
                                      const PrecisionOptions& options, const ProgressFn& progress);

}  // namespace thimble::compress
