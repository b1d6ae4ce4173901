#include "thimble/compress/eliminate.h"

#include <utility>

namespace thimble::compress {

Elimination::Elimination(at::Tensor inverse, at::Tensor weight, int64_t capacity)
    : inverse_(std::move(inverse)),
      weight_(std::move(weight)),
      rows_(at::empty({capacity, inverse_.size(0)}, at::kDouble)),
      shares_(at::empty({capacity, inverse_.size(0)}, at::kDouble)),
      weights_(at::empty({capacity, weight_.size(1)}, at::kDouble)) {}

Elimination::Removed Elimination::Remove(int64_t first, int64_t width) {
  const at::Tensor waiting_rows = rows_.narrow(0, 0, waiting_),
                   waiting_shares = shares_.narrow(0, 0, waiting_),
                   waiting_weights = weights_.narrow(0, 0, waiting_);
  Removed unit;
  unit.rows = rows_.narrow(0, waiting_, width);
  unit.shares = shares_.narrow(0, waiting_, width);
  at::Tensor weights = weights_.narrow(0, waiting_, width);
  unit.rows.copy_(inverse_.narrow(0, first, width));
  weights.copy_(weight_.narrow(0, first, width));
  const at::Tensor own = waiting_shares.narrow(1, first, width).t();  // [width, waiting]
  if (waiting_ > 0) {
    unit.rows.addmm_(own, waiting_rows, 1, -1);
    weights.addmm_(own, waiting_weights, 1, -1);
  }
  const at::Tensor block = unit.rows.narrow(1, first, width);
  if (width == 1) {
    at::div_out(unit.shares, unit.rows, block);
  } else {
    unit.shares.copy_(at::cholesky_solve(unit.rows, std::get<0>(at::linalg_cholesky_ex(block))));
  }
  unit.squares = at::mm(weights, weights.t());
  unit.products = at::mm(weights, weight_.t());
  if (waiting_ > 0) {
    unit.products.addmm_(at::mm(weights, waiting_weights.t()), waiting_shares, 1, -1);
  }
  // trace(W_M block^-1 W_M^T)
  unit.cost = width == 1
                  ? unit.squares.item<double>() / block.item<double>()
                  : at::cholesky_solve(unit.squares, std::get<0>(at::linalg_cholesky_ex(block)))
                        .trace()
                        .item<double>();
  waiting_ += width;
  return unit;
}

void Elimination::Flush(const std::vector<int64_t>& kept) {
  if (waiting_ > 0) {
    const at::Tensor shares = shares_.narrow(0, 0, waiting_);
    inverse_.addmm_(rows_.narrow(0, 0, waiting_).t(), shares, 1, -1);
    weight_.addmm_(shares.t(), weights_.narrow(0, 0, waiting_), 1, -1);
    waiting_ = 0;
  }
  const auto count = static_cast<int64_t>(kept.size());
  if (count == inverse_.size(0)) return;
  const at::Tensor index = at::tensor(kept, at::kLong);
  inverse_ = inverse_.index_select(0, index).index_select(1, index);
  weight_ = weight_.index_select(0, index);
  rows_ = rows_.narrow(1, 0, count);
  shares_ = shares_.narrow(1, 0, count);
}

}  // namespace thimble::compress
