// Structured optimal brain surgeon: takes units out of a linear one after another, each time the one that costs least,
// and changes the remaining weights so that the outputs on calibration data move as little as can be (ZipLM, Kurtic et
// al. 2023, equations 2 and 3; Frantar and Alistarh 2022 for single columns).
//
// With H = sum of x x^T over the inputs, W [outputs, inputs] and M the columns of a unit,
//   cost(M)  = trace(W_M [(H^-1)_MM]^-1 W_M^T)
//   W       <- W - W_M [(H^-1)_MM]^-1 (H^-1)_M,:
//   H^-1    <- H^-1 - (H^-1)_:,M [(H^-1)_MM]^-1 (H^-1)_M,:
// At every step W is the least-squares fit of the original outputs on the inputs that are left, and the sum of the
// costs its squared error. The order is greedy: only the first removal is sure to be the best.
//
// All in double. Single columns are taken out in batches: H^-1 and W stand still while up to `batch` removals wait,
// and only what a removal needs (its column, and the cost of every other) is brought up to date; so the matrices are
// passed over once per batch, by products that run near a processor's peak. The result is that of `batch` 1 but for
// rounding.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/compress/gram.h"
#include "thimble/compress/removal.h"
#include "thimble/graph/tensor.h"

namespace thimble::compress {

struct ObsOptions {
  std::vector<int64_t> counts;  // of units left, for which weights are wanted
  // Lambda, as a share of the mean of H's diagonal. Unset: 1 %, and only where H has no usable inverse (fewer rows
  // than inputs, inputs that depend on each other).
  std::optional<double> damping;
  int threads = 1;
  int64_t batch = 64;
  // Told the share done; an error it returns ends the work.
  std::function<Status(double)> progress;
};

struct ObsResult {
  // Where `lambda` is above 0, errors are ||(W_k - W) X||^2 + lambda ||W_k - W||^2, which W_k minimises.
  RemovalPath path;
  double lambda = 0;
  // Inputs that were zero in all rows. They cost nothing, and keep their weights while their units stay.
  int64_t dead_inputs = 0;
};

// `weight`: [outputs, units * unit_width], float. kInvalidArgument: widths or counts that do not fit; kInvalidData:
// moments without an inverse even when damped (not finite).
Result<ObsResult> PruneByObs(const Tensor& weight, int64_t unit_width, const Gram& gram,
                             const ObsOptions& options);

}  // namespace thimble::compress
