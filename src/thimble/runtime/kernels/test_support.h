// What the tests of kernels share: matrices whose surroundings are watched, and every table there
// is.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "thimble/runtime/kernels/kernels.h"

namespace thimble {

// Unit roundoff of float32: a correctly rounded operation is off by at most this, relatively.
inline constexpr double kRoundoff = 0x1p-24;

// Rows of floats with `stride` between them; everything outside the rows' width is a pattern that
// nobody may change, and that is NaN so that nobody may use it either.
class GuardedMatrix {
 public:
  GuardedMatrix(size_t rows, size_t width, size_t stride, size_t misalign = 0)
      : rows_(rows),
        width_(width),
        stride_(stride),
        start_(kGuard + misalign),
        storage_(start_ + rows * stride + kGuard, Pattern()) {}

  // Normally distributed, from the seed alone.
  static GuardedMatrix Random(size_t rows, size_t width, size_t stride, uint32_t seed,
                              size_t misalign = 0) {
    GuardedMatrix m(rows, width, stride, misalign);
    std::mt19937 bits(seed);
    std::normal_distribution<float> normal;
    for (size_t r = 0; r < rows; ++r) {
      for (size_t i = 0; i < width; ++i) m.at(r, i) = normal(bits);
    }
    return m;
  }

  float* data() { return storage_.data() + start_; }
  const float* data() const { return storage_.data() + start_; }
  float& at(size_t r, size_t i) { return storage_[start_ + r * stride_ + i]; }
  float at(size_t r, size_t i) const { return storage_[start_ + r * stride_ + i]; }
  size_t stride() const { return stride_; }

  bool GuardsIntact() const {
    for (size_t i = 0; i < storage_.size(); ++i) {
      const size_t from_start = i - start_;
      const bool inside =
          i >= start_ && from_start / stride_ < rows_ && from_start % stride_ < width_;
      const float pattern = Pattern();
      if (!inside && std::memcmp(&storage_[i], &pattern, sizeof(float)) != 0) return false;
    }
    return true;
  }

  bool SameBits(const GuardedMatrix& other) const {
    return std::memcmp(storage_.data(), other.storage_.data(), storage_.size() * sizeof(float)) ==
           0;
  }

 private:
  static constexpr size_t kGuard = 64;
  static float Pattern() {
    const uint32_t bits = 0x7FC0BEEF;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }

  size_t rows_, width_, stride_, start_;
  std::vector<float> storage_;
};

// Runs `compute(table)`, a GuardedMatrix, with every table, gives each to `check`, and holds those
// with fused multiply-add to the same bits.
template <class Compute, class Check>
void ForEachTable(const Compute& compute, const Check& check) {
  const Kernels* first_fused = nullptr;
  for (const Kernels* table : AvailableKernels()) {
    SCOPED_TRACE(std::string(table->name));
    const auto result = compute(*table);
    EXPECT_TRUE(result.GuardsIntact());
    check(*table, result);
    if (!table->fused) continue;
    if (first_fused == nullptr) first_fused = table;
    EXPECT_TRUE(result.SameBits(compute(*first_fused))) << "differs from " << first_fused->name;
  }
}

}  // namespace thimble
