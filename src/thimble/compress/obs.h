// Which units of a matrix to remove, and what the rest becomes.
//
// For a linear y = W x over calibration rows with G = sum x x^T, removing a group of columns M and refitting the others
// to the linear's original outputs costs, and changes W and H = G^-1, in closed form (structured optimal brain surgeon,
// Kurtic et al. 2023, equations 2 and 3; Hassibi and Stork 1993):
//
//   cost     tr( W_M (H_MM)^-1 W_M^T )
//   W   <-   W - W_M (H_MM)^-1 H_M:
//   H   <-   H - H_:M (H_MM)^-1 H_M:
//
// Removing the cheapest group again and again is greedy: the least squares solution on what stays, not the best choice
// of what stays (but for the first group).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/train/torch.h"

namespace thimble::compress {

// A consumer's matrix at some number of units.
struct Snapshot {
  std::vector<int64_t> units;  // that stay, rising
  at::Tensor weight;           // float [outputs, units x unit_width]
  double error = 0;            // || (W' - W) X ||^2 over the calibration rows
};

struct ObsOptions {
  // Added to the diagonal of G, as a share of its mean, where G alone is singular (W' then minimises the error plus
  // as much of || W' - W ||^2). A dead input, of which G knows nothing, goes first and costs nothing; while it stays
  // it keeps its weights, which other data may need.
  double damping = 0.01;
};

struct ObsResult {
  std::vector<Snapshot> snapshots;  // one per wanted count
  bool damped = false;
};

// `weight` [outputs, units x unit_width]; `gram` double [inputs, inputs]; `counts` of units to keep, falling; 0 is
// allowed. Everything is computed in double. kInvalidData: a Gram matrix with numbers that are not finite.
Result<ObsResult> StructuredObs(const at::Tensor& weight, const at::Tensor& gram,
                                int64_t unit_width, std::span<const int64_t> counts,
                                const ObsOptions& options = {});

// The baseline: units with the smallest `norms` (one per unit) go, the others stay as they are.
std::vector<Snapshot> StructuredMagnitude(const at::Tensor& weight, const at::Tensor& gram,
                                          int64_t unit_width, std::span<const double> norms,
                                          std::span<const int64_t> counts);

}  // namespace thimble::compress
