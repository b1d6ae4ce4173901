// What the tests of training's kernels share: every table there is, the worst element of a
// comparison, and gradients by differences.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "thimble/runtime/kernels/test_support.h"
#include "thimble/train/kernels/kernels.h"

namespace thimble {

// 1 to 2 vectors of 16, powers of two and their neighbours.
inline std::vector<size_t> TestedSizes() {
  std::vector<size_t> sizes;
  for (size_t n = 1; n <= 33; ++n) sizes.push_back(n);
  for (size_t n : {47, 48, 63, 64, 65, 127, 128, 129, 255, 256, 257, 312}) sizes.push_back(n);
  return sizes;
}

// Collects one comparison's elements and judges the one that is farthest off, by its own bound.
class Worst {
 public:
  explicit Worst(std::string what) : what_(std::move(what)) {}
  Worst(const Worst&) = delete;
  Worst& operator=(const Worst&) = delete;
  ~Worst() {
    EXPECT_FALSE(failed_) << what_ << ": worst element (" << row_ << ", " << column_ << ") is "
                          << got_ << ", expected " << expected_ << " within " << bound_;
  }

  void Add(size_t row, size_t column, double got, double expected, double bound) {
    const double error = std::abs(got - expected);
    const double share = error <= bound ? (bound > 0 ? error / bound : 0) : 1 + error - bound;
    const bool fails = !(error <= bound);  // NaN too
    if (fails < failed_ || (fails == failed_ && !(share > share_))) return;
    failed_ = fails, share_ = share;
    row_ = row, column_ = column, got_ = got, expected_ = expected, bound_ = bound;
  }

 private:
  std::string what_;
  bool failed_ = false;
  double share_ = -1, got_ = 0, expected_ = 0, bound_ = 0;
  size_t row_ = 0, column_ = 0;
};

using Outputs = std::vector<GuardedMatrix>;

inline bool SameBits(const Outputs& a, const Outputs& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].SameBits(b[i])) return false;
  }
  return true;
}

// Runs compute(table), which gives Outputs, twice with every table, which must give the same, and
// hands them to check(table, outputs). Tables with fused multiply-add must agree to the bit.
template <class Compute, class Check>
void ForEachTrainTable(const Compute& compute, const Check& check) {
  const TrainKernels* first_fused = nullptr;
  for (const TrainKernels* table : AvailableTrainKernels()) {
    SCOPED_TRACE(std::string(table->name));
    const Outputs outputs = compute(*table);
    for (const GuardedMatrix& output : outputs) EXPECT_TRUE(output.GuardsIntact());
    EXPECT_TRUE(SameBits(outputs, compute(*table))) << "differs when repeated";
    check(*table, outputs);
    if (!table->fused) continue;
    if (first_fused == nullptr) first_fused = table;
    EXPECT_TRUE(SameBits(outputs, compute(*first_fused))) << "differs from " << first_fused->name;
  }
}

struct Difference {
  double value, error;
};

// df/dx by central differences, and how far off they may be: the second-order error shows in what
// a step of twice the length changes, `roundoff` is the absolute error of f.
inline Difference Differentiate(const std::function<double(double)>& f, double x, double roundoff,
                                double step = 1e-4) {
  const double near = (f(x + step) - f(x - step)) / (2 * step);
  const double far = (f(x + 2 * step) - f(x - 2 * step)) / (4 * step);
  return {near, std::abs(far - near) + 2 * roundoff / step};
}

}  // namespace thimble
