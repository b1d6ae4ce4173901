// What a method of structured pruning says about one structure: in which order its units go, and what that costs.
#pragma once

#include <cstdint>
#include <vector>

#include "thimble/graph/tensor.h"
#include "thimble/passes/shrink.h"
#include "thimble/passes/structures.h"

namespace thimble::compress {

struct Snapshot {
  std::vector<int64_t> units;  // that are left, rising
  // Of the consumer, float32 [outputs, units.size() * unit_width]; of rank 1 and empty where no unit is left.
  Tensor weight;
};

struct RemovalPath {
  std::vector<int64_t> order;  // every unit, the first to go first
  // errors[k]: what the consumer's outputs lose by the first k removals, as a squared error summed over calibration
  // rows and outputs, ||(W_k - W) X||^2; units + 1 entries, the first 0. Empty where no moments were given.
  std::vector<double> errors;
  double energy = 0;  // ||W X||^2, which errors are relative to; the last error, where all inputs are gone
  std::vector<Snapshot> snapshots;  // at the wanted counts, in the order asked for

  // Squared error relative to the output without its bias: 0 for all units, 1 for none.
  double relative_error(size_t removed) const {
    return energy > 0 ? errors[removed] / energy : 0;
  }
};

// For Shrink.
inline Kept KeptOf(const Structure& structure, const Snapshot& snapshot) {
  Kept kept{structure.name, snapshot.units, std::nullopt};
  if (!snapshot.units.empty()) kept.consumer_weight = snapshot.weight;
  return kept;
}

}  // namespace thimble::compress
