#include "thimble/compress/obs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "thimble/compress/eliminate.h"
#include "thimble/train/libraries.h"
#include "thimble/train/torch.h"

namespace thimble::compress {
namespace {

// Below this the smallest pivot is rounding.
constexpr double kLeastPivotShare = 1e-12;
constexpr double kDamping = 0.01;

std::string Number(int64_t n) { return std::to_string(n); }

Status Check(const Tensor& weight, int64_t unit_width, const Gram& gram,
             const ObsOptions& options) {
  if (weight.rank() != 2 || weight.dim(1) != gram.width || unit_width < 1 ||
      gram.width % unit_width != 0) {
    return InvalidArgument("a weight " + ShapeText(weight.shape()) + " in units of " +
                           Number(unit_width) + " does not fit moments of width " +
                           Number(gram.width));
  }
  for (const int64_t count : options.counts) {
    if (count < 0 || count > gram.width / unit_width) {
      return InvalidArgument("there are " + Number(gram.width / unit_width) + " units, not " +
                             Number(count));
    }
  }
  if (options.batch < 1) return InvalidArgument("a batch has at least one removal");
  return {};
}

// The factor of H + lambda, or an undefined tensor where it has none to rely on.
at::Tensor Factor(const at::Tensor& h, double lambda) {
  at::Tensor damped = h.clone();
  damped.diagonal().add_(lambda);
  auto [factor, info] = at::linalg_cholesky_ex(damped);
  if (info.item<int>() != 0) return {};
  const at::Tensor pivots = factor.diagonal();
  const double share = (pivots.min() / pivots.max()).item<double>();
  return share * share >= kLeastPivotShare ? factor : at::Tensor();
}

class Pruner {
 public:
  Pruner(const Tensor& weight, int64_t unit_width, const Gram& gram, const ObsOptions& options)
      : width_(unit_width), units_(gram.width / unit_width), options_(options) {
    const std::vector<float> values = weight.ToFloats();
    original_ = at::tensor(values, at::kFloat).view({weight.dim(0), gram.width}).t().contiguous();
    h_ = at::from_blob(const_cast<double*>(gram.sum.data()), {gram.width, gram.width}, at::kDouble);
  }

  Result<ObsResult> Run() {
    const at::Tensor weight = original_.to(at::kDouble);
    result_.path.energy = weight.mul(at::mm(h_, weight)).sum().item<double>();
    TRY(at::Tensor inverse, Invert(weight));
    const int64_t capacity = width_ == 1 ? std::min(options_.batch, units_) : width_;
    Elimination elimination(std::move(inverse), weight, capacity);
    for (int64_t u = 0; u < units_; ++u) left_.push_back(u);
    gone_.assign(left_.size(), false);
    RemovalPath& path = result_.path;
    path.snapshots.resize(options_.counts.size());
    path.errors.push_back(0);
    TakeSnapshots(elimination);
    Refresh(elimination);
    while (static_cast<int64_t>(path.order.size()) < units_) {
      const auto slot = static_cast<int64_t>(std::min_element(costs_.begin(), costs_.end()) -
                                             costs_.begin());
      const Elimination::Removed unit = elimination.Remove(slot * width_, width_);
      path.order.push_back(left_[static_cast<size_t>(slot)]);
      path.errors.push_back(path.errors.back() + std::max(unit.cost, 0.0));
      gone_[static_cast<size_t>(slot)] = true;
      if (width_ > 1 || elimination.full(1) || IsWanted()) {
        Flush(elimination);
        TakeSnapshots(elimination);
        Refresh(elimination);
      } else {
        Follow(unit);
      }
      if (options_.progress) {
        TRY_VOID(options_.progress(static_cast<double>(path.order.size()) /
                                   static_cast<double>(units_)));
      }
    }
    return std::move(result_);
  }

 private:
  // H^-1. Dead inputs leave `weight`.
  Result<at::Tensor> Invert(const at::Tensor& weight) {
    at::Tensor h = h_.clone();
    const at::Tensor diagonal = h.diagonal();
    const double mean = diagonal.mean().item<double>();
    if (!std::isfinite(mean)) return InvalidData("the moments are not finite");
    dead_ = diagonal.le(0).nonzero().view({-1});
    result_.dead_inputs = dead_.numel();
    if (dead_.numel() > 0) {
      at::Tensor(weight).index_fill_(0, dead_, 0);
      at::Tensor(diagonal).index_fill_(0, dead_, mean > 0 ? mean : 1);
    }
    const double share = options_.damping.value_or(0);
    double lambda = share * mean;
    at::Tensor factor = Factor(h, lambda);
    if (!factor.defined() && !options_.damping.has_value()) {
      lambda = kDamping * mean;
      factor = Factor(h, lambda);
    }
    if (!factor.defined()) {
      return InvalidData("the moments have no inverse; use more calibration data or more damping");
    }
    result_.lambda = lambda;
    return at::cholesky_inverse(factor);
  }

  int64_t count() const { return units_ - static_cast<int64_t>(result_.path.order.size()); }

  bool IsWanted() const {
    return std::find(options_.counts.begin(), options_.counts.end(), count()) !=
           options_.counts.end();
  }

  void Flush(Elimination& elimination) {
    std::vector<int64_t> kept, left;
    for (size_t slot = 0; slot < left_.size(); ++slot) {
      if (gone_[slot]) continue;
      left.push_back(left_[slot]);
      for (int64_t i = 0; i < width_; ++i) kept.push_back(static_cast<int64_t>(slot) * width_ + i);
    }
    elimination.Flush(kept);
    left_ = std::move(left);
    gone_.assign(left_.size(), false);
  }

  // Nothing waits now.
  void TakeSnapshots(const Elimination& elimination) {
    for (size_t i = 0; i < options_.counts.size(); ++i) {
      if (options_.counts[i] != count()) continue;
      Snapshot& snapshot = result_.path.snapshots[i];
      snapshot.units = left_;
      if (left_.empty()) continue;
      at::Tensor columns = elimination.weight().to(at::kFloat);
      RestoreDead(columns);
      columns = columns.t().contiguous();
      snapshot.weight = Tensor::FromFloats(
          {columns.size(0), columns.size(1)},
          {columns.data_ptr<float>(), static_cast<size_t>(columns.numel())});
    }
  }

  void RestoreDead(at::Tensor& columns) const {
    if (dead_.numel() == 0) return;
    std::vector<int64_t> inputs;
    for (const int64_t unit : left_) {
      for (int64_t i = 0; i < width_; ++i) inputs.push_back(unit * width_ + i);
    }
    const at::Tensor index = at::tensor(inputs, at::kLong);
    const at::Tensor dead = at::zeros({original_.size(0)}, at::kBool).index_fill_(0, dead_, true);
    columns.copy_(at::where(dead.index_select(0, index).unsqueeze(1),
                            original_.index_select(0, index), columns));
  }

  // Costs from the matrices as they stand.
  void Refresh(const Elimination& elimination) {
    const at::Tensor& inverse = elimination.inverse();
    const at::Tensor& weight = elimination.weight();
    const auto left = static_cast<int64_t>(left_.size());
    costs_.assign(left_.size(), 0);
    if (left == 0) return;
    if (width_ == 1) {
      const at::Tensor norms = weight.mul(weight).sum(1), diagonal = inverse.diagonal().contiguous();
      norms_.assign(norms.data_ptr<double>(), norms.data_ptr<double>() + left);
      diagonal_.assign(diagonal.data_ptr<double>(), diagonal.data_ptr<double>() + left);
      for (size_t i = 0; i < costs_.size(); ++i) SetCost(i);
      return;
    }
    for (int64_t i = 0; i < left; ++i) {
      const at::Tensor w = weight.narrow(0, i * width_, width_);
      const at::Tensor block = inverse.narrow(0, i * width_, width_).narrow(1, i * width_, width_);
      costs_[static_cast<size_t>(i)] =
          at::cholesky_solve(at::mm(w, w.t()), std::get<0>(at::linalg_cholesky_ex(block)))
              .trace()
              .item<double>();
    }
  }

  // Costs of single columns behind a removal that waits: W and H^-1 change by `shares` times what left.
  void Follow(const Elimination::Removed& unit) {
    const double* rows = unit.rows.data_ptr<double>();
    const double* shares = unit.shares.data_ptr<double>();
    const double* products = unit.products.data_ptr<double>();
    const double square = unit.squares.item<double>();
    for (size_t i = 0; i < costs_.size(); ++i) {
      norms_[i] += shares[i] * (shares[i] * square - 2 * products[i]);
      diagonal_[i] -= shares[i] * rows[i];
      SetCost(i);
    }
  }

  void SetCost(size_t slot) {
    // A diagonal that rounding has made 0 belongs to a column that nothing can replace.
    const bool usable = !gone_[slot] && diagonal_[slot] > 0;
    costs_[slot] = usable ? norms_[slot] / diagonal_[slot] : std::numeric_limits<double>::infinity();
  }

  const int64_t width_, units_;
  const ObsOptions& options_;
  ObsResult result_;
  at::Tensor original_;  // [inputs, outputs], float
  at::Tensor h_, dead_;
  // Per slot: the unit, whether it waits to leave, its cost, and of single columns what makes it.
  std::vector<int64_t> left_;
  std::vector<bool> gone_;
  std::vector<double> costs_, norms_, diagonal_;
};

}  // namespace

Result<ObsResult> PruneByObs(const Tensor& weight, int64_t unit_width, const Gram& gram,
                             const ObsOptions& options) {
  TRY_VOID(Check(weight, unit_width, gram, options));
  const train::ThreadsPerCall threads(options.threads);
  try {
    return Pruner(weight, unit_width, gram, options).Run();
  } catch (const c10::Error& error) {
    return ResourceExhausted("libtorch: " + std::string(error.what_without_backtrace()));
  }
}

}  // namespace thimble::compress
