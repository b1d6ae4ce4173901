// The step of obs.h: columns leave an inverse, and a matrix makes up for them.
#pragma once

#include <cstdint>
#include <vector>

#include "thimble/train/torch.h"

namespace thimble::compress {

// Removals wait here until Flush. Slots are the rows of `inverse` as it stood then.
class Elimination {
 public:
  // `inverse`: [n, n], of H; `weight`: [n, outputs], W transposed; both double, changed in place by Flush.
  // At most `capacity` columns wait.
  Elimination(at::Tensor inverse, at::Tensor weight, int64_t capacity);

  // The columns of one unit, to wait with the others.
  struct Removed {
    double cost = 0;
    at::Tensor rows;      // [width, n]: of the inverse as it is now
    at::Tensor shares;    // [width, n]: [(H^-1)_MM]^-1 rows
    at::Tensor products;  // [width, n]: of their weights with those of all columns
    at::Tensor squares;   // [width, width]: of their weights with each other
  };
  Removed Remove(int64_t first, int64_t width);

  // Does what waits, and drops the rows and columns that left. `kept`: slots that stay, rising.
  void Flush(const std::vector<int64_t>& kept);

  bool full(int64_t width) const { return waiting_ + width > rows_.size(0); }
  const at::Tensor& inverse() const { return inverse_; }
  const at::Tensor& weight() const { return weight_; }

 private:
  at::Tensor inverse_, weight_;
  at::Tensor rows_, shares_;  // [capacity, n]
  at::Tensor weights_;        // [capacity, outputs]: of the columns when they left
  int64_t waiting_ = 0;
};

}  // namespace thimble::compress
