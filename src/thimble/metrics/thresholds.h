// Thresholds of multi-label models, chosen on a validation set.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/dataset.h"
#include "thimble/metrics/metrics.h"

namespace thimble {

struct ThresholdOptions {
  // A label with fewer examples than this in the validation set takes the global threshold: its own would
  // fit the accidents of a handful of rows.
  size_t min_support = 20;
};

struct TunedThresholds {
  std::vector<float> per_label;  // one per label of the data set
  float global = 0.5f;           // the best single one, by macro F1
  size_t below_support = 0;      // labels that took the global one
  // On the data they were tuned on, and so too good: of 0.5, of `global` and of `per_label`.
  double macro_f1_default = 0, macro_f1_global = 0, macro_f1_per_label = 0;
};

// Maximizes F1: per label exactly, over all cuts between two neighbouring scores; the global one over a
// grid of 0.01. Of equally good thresholds the one nearest to 0.5 is taken, then the higher. Deterministic.
Result<TunedThresholds> TuneThresholds(const Dataset& valid, std::span<const TaskOutput> outputs,
                                       const ThresholdOptions& options = {});

}  // namespace thimble
