#include "thimble/compress/obs.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace thimble::compress {
namespace {

// Single columns are removed lazily: so many at a time are applied to the matrices.
constexpr int64_t kBlock = 32;
// The matrices are copied without what was removed once that is a share of them.
constexpr double kCompactBelow = 0.8;

at::Tensor IndexTensor(std::span<const int64_t> values) {
  const at::Tensor t = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), t.data_ptr<int64_t>());
  return t;
}

std::vector<int64_t> ColumnsOf(std::span<const int64_t> units, int64_t width) {
  std::vector<int64_t> columns;
  columns.reserve(units.size() * static_cast<size_t>(width));
  for (const int64_t u : units) {
    for (int64_t c = 0; c < width; ++c) columns.push_back(u * width + c);
  }
  return columns;
}

double SquaredError(const at::Tensor& change, const at::Tensor& gram) {
  return at::mm(change, gram).mul_(change).sum().item<double>();
}

// H, or nothing where G is too close to singular: a pivot of its Cholesky factor says so.
at::Tensor InverseOf(const at::Tensor& gram) {
  const auto [factor, info] = at::linalg_cholesky_ex(gram);
  if (info.item<int>() != 0) return {};
  const at::Tensor pivots = factor.diagonal();
  constexpr double kLeastPivot = 1e-7;  // squared, a share of the largest
  if (pivots.min().item<double>() < kLeastPivot * pivots.max().item<double>()) return {};
  return at::cholesky_inverse(factor);
}

class Remover {
 public:
  Remover(const at::Tensor& weight, at::Tensor inverse, int64_t unit_width)
      : width_(unit_width),
        weight_(weight.to(at::kDouble).clone()),
        inverse_(std::move(inverse)),
        units_(static_cast<size_t>(weight.size(1) / unit_width)) {
    std::iota(units_.begin(), units_.end(), 0);
    alive_.assign(units_.size(), true);
    left_ = static_cast<int64_t>(units_.size());
    Refresh();
  }

  // Removes until `count` units are left.
  Snapshot Reduce(int64_t count) {
    while (left_ > count) width_ == 1 ? RemoveColumn() : RemoveGroup();
    Flush();
    Snapshot s{.units = {}, .weight = {}, .error = error_};
    std::vector<int64_t> places;
    for (size_t i = 0; i < units_.size(); ++i) {
      if (!alive_[i]) continue;
      s.units.push_back(units_[i]);
      places.push_back(static_cast<int64_t>(i));
    }
    s.weight = weight_.index_select(1, IndexTensor(ColumnsOf(places, width_))).to(at::kFloat);
    return s;
  }

 private:
  // Of single columns, exactly from the matrices: squared norms of W's columns and the diagonal of H.
  void Refresh() {
    if (width_ != 1) return;
    norms_ = weight_.square().sum(0);
    diagonal_ = inverse_.diagonal().clone();
  }

  void RemoveColumn() {
    const double* norm = norms_.data_ptr<double>();
    const double* diagonal = diagonal_.data_ptr<double>();
    size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < units_.size(); ++i) {
      if (!alive_[i]) continue;
      const double score = norm[i] / diagonal[i];
      if (score < least) least = score, best = i;
    }
    const auto j = static_cast<int64_t>(best);
    // Row j of H and column j of W as they are after what is pending.
    at::Tensor h = inverse_.select(0, j).clone(), w = weight_.select(1, j).clone();
    for (size_t p = 0; p < pending_h_.size(); ++p) {
      const double share = pending_h_[p][j].item<double>() / pending_d_[p];
      h.sub_(pending_h_[p], share);
      w.sub_(pending_w_[p], share);
    }
    at::Tensor products = at::mv(weight_.t(), w);  // of w with every column
    for (size_t p = 0; p < pending_h_.size(); ++p) {
      products.sub_(pending_h_[p], at::dot(pending_w_[p], w).item<double>() / pending_d_[p]);
    }
    const double d = h[j].item<double>(), norm_of_w = at::dot(w, w).item<double>();
    error_ += norm_of_w / d;
    norms_.sub_(products * h, 2 / d).add_(h.square(), norm_of_w / (d * d));
    diagonal_.sub_(h.square(), 1 / d);
    alive_[best] = false;
    --left_;
    pending_h_.push_back(h);
    pending_w_.push_back(w);
    pending_d_.push_back(d);
    if (static_cast<int64_t>(pending_h_.size()) == kBlock) Flush();
  }

  void RemoveGroup() {
    size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    at::Tensor best_core;
    for (size_t i = 0; i < units_.size(); ++i) {
      if (!alive_[i]) continue;
      const int64_t at = static_cast<int64_t>(i) * width_;
      const at::Tensor w = weight_.narrow(1, at, width_);
      const at::Tensor core = at::inverse(inverse_.narrow(0, at, width_).narrow(1, at, width_));
      const double score = at::mm(w, core).mul_(w).sum().item<double>();
      if (score < least) least = score, best = i, best_core = core;
    }
    const int64_t at = static_cast<int64_t>(best) * width_;
    const at::Tensor h = inverse_.narrow(0, at, width_).clone();
    const at::Tensor w = weight_.narrow(1, at, width_).clone();
    error_ += least;
    const at::Tensor core_h = at::mm(best_core, h);
    weight_.addmm_(w, core_h, 1, -1);
    inverse_.addmm_(h.t(), core_h, 1, -1);
    alive_[best] = false;
    --left_;
    Compact();
  }

  // Applies what is pending.
  void Flush() {
    if (pending_h_.empty()) return;
    const at::Tensor h = at::stack(pending_h_), w = at::stack(pending_w_);
    const at::Tensor d = at::empty({h.size(0), 1}, at::kDouble);
    std::copy(pending_d_.begin(), pending_d_.end(), d.data_ptr<double>());
    const at::Tensor scaled = h / d;
    weight_.addmm_(w.t(), scaled, 1, -1);
    inverse_.addmm_(h.t(), scaled, 1, -1);
    pending_h_.clear();
    pending_w_.clear();
    pending_d_.clear();
    Compact();
    Refresh();
  }

  void Compact() {
    if (static_cast<double>(left_) > kCompactBelow * static_cast<double>(units_.size())) return;
    std::vector<int64_t> places, units;
    for (size_t i = 0; i < units_.size(); ++i) {
      if (!alive_[i]) continue;
      places.push_back(static_cast<int64_t>(i));
      units.push_back(units_[i]);
    }
    const at::Tensor columns = IndexTensor(ColumnsOf(places, width_));
    weight_ = weight_.index_select(1, columns);
    inverse_ = inverse_.index_select(0, columns).index_select(1, columns);
    units_ = std::move(units);
    alive_.assign(units_.size(), true);
  }

  int64_t width_;
  at::Tensor weight_, inverse_;  // of the units in units_, before what is pending
  std::vector<int64_t> units_;
  std::vector<bool> alive_;
  int64_t left_ = 0;
  double error_ = 0;
  at::Tensor norms_, diagonal_;
  std::vector<at::Tensor> pending_h_, pending_w_;
  std::vector<double> pending_d_;
};

}  // namespace

Result<ObsResult> StructuredObs(const at::Tensor& weight, const at::Tensor& gram,
                                int64_t unit_width, std::span<const int64_t> counts,
                                const ObsOptions& options) {
  const c10::InferenceMode guard;
  if (!gram.isfinite().all().item<bool>()) {
    return InvalidData("what the layer reads on the calibration texts is not finite");
  }
  ObsResult result;
  at::Tensor g = gram.clone();
  at::Tensor w = weight.to(at::kDouble).clone();
  const at::Tensor dead = g.diagonal() == 0;
  g.diagonal().masked_fill_(dead, 1);
  w.masked_fill_(dead.unsqueeze(0), 0);
  at::Tensor inverse = InverseOf(g);
  if (!inverse.defined()) {
    result.damped = true;
    g.diagonal().add_(options.damping * g.diagonal().mean());
    inverse = InverseOf(g);
    if (!inverse.defined()) {
      return InvalidData(
          "what the layer reads on the calibration texts gives no Hessian that can "
          "be inverted; give more texts");
    }
  }
  Remover remover(w, inverse, unit_width);
  for (const int64_t count : counts) {
    result.snapshots.push_back(remover.Reduce(count));
    Snapshot& s = result.snapshots.back();
    if (!dead.any().item<bool>() || s.units.empty()) continue;
    const at::Tensor columns = IndexTensor(ColumnsOf(s.units, unit_width));
    s.weight = at::where(dead.index_select(0, columns).unsqueeze(0),
                         weight.index_select(1, columns).to(at::kFloat), s.weight);
  }
  return result;
}

std::vector<Snapshot> StructuredMagnitude(const at::Tensor& weight, const at::Tensor& gram,
                                          int64_t unit_width, std::span<const double> norms,
                                          std::span<const int64_t> counts) {
  const c10::InferenceMode guard;
  std::vector<int64_t> order(norms.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return norms[static_cast<size_t>(a)] > norms[static_cast<size_t>(b)];
  });
  const at::Tensor w = weight.to(at::kDouble);
  std::vector<Snapshot> snapshots;
  for (const int64_t count : counts) {
    Snapshot s;
    s.units.assign(order.begin(), order.begin() + count);
    std::sort(s.units.begin(), s.units.end());
    const at::Tensor columns = IndexTensor(ColumnsOf(s.units, unit_width));
    s.weight = w.index_select(1, columns).to(at::kFloat);
    at::Tensor gone = w.clone();
    gone.index_fill_(1, columns, 0);
    s.error = SquaredError(gone, gram);
    snapshots.push_back(std::move(s));
  }
  return snapshots;
}

}  // namespace thimble::compress
