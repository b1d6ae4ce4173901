// Which weights become int8: those where it is faster here, but for those that cost too much of the answers.
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
  double loss = 0;  // OutputDistance of the model with these alone as int8
  double speedup =
      1;  // of the model with all groups of this shape as int8, measured; tables of words: 1, not measured
  bool int8 = false;  // chosen
};

struct PrecisionPlan {
  std::vector<PrecisionGroup> groups;  // in execution order
  Graph graph;                         // with the chosen ones as int8
  double score_float = 0, score_int8 = 0,
         score = 0;         // of the float model, of all groups as int8, of `graph`
  Speedup all_int8, mixed;  // against the float model, in turns
};

struct PrecisionOptions {
  TimingOptions timing;
  double max_drop = 0.01;         // of the score, absolute
  bool only_where_faster = true;  // false: wherever the score allows it, for size
};

// Starts with int8 in every group where it is measured to be faster (and in the table of words, which gets smaller and
// not slower), and takes the groups with the largest loss back until `score` has fallen by at most max_drop. How many is
// found by bisection, as if more float were never worse; the result's own score is checked. `score` is asked a dozen
// times. kUnsupported: nothing can become int8.
Result<PrecisionPlan> ChoosePrecision(const Model& model, const OutputDistance& distance,
                                      const std::function<Result<double>(const Graph&)>& score,
                                      const PrecisionOptions& options, const ProgressFn& progress);

}  // namespace thimble::compress
