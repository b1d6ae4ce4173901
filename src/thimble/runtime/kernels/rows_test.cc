// Layer norm, affine and addition against double.
#include <algorithm>
#include <cmath>

#include "thimble/runtime/kernels/test_support.h"

namespace thimble {
namespace {

const size_t kWidths[] = {1,  2,  3,  7,  8,   9,   15,  16,  17, 31,
                          32, 33, 47, 64, 127, 128, 129, 312, 768};

// Calls compute(table, x, y) for a y apart from x and for y = x, which must give the same.
template <class Compute, class Check>
void CheckRows(size_t width, const Compute& compute, const Check& check) {
  SCOPED_TRACE("width " + std::to_string(width));
  const auto x = GuardedMatrix::Random(3, width, width + 3, 1, width % 5);
  ForEachTable(
      [&](const Kernels& table) {
        GuardedMatrix y(3, width, width + 3, width % 5), in_place = x;
        compute(table, x, y);
        compute(table, in_place, in_place);
        EXPECT_TRUE(in_place.SameBits(y));
        return y;
      },
      [&](const Kernels& table, const GuardedMatrix& y) { check(table, x, y); });
}

RowsArgs Args(const GuardedMatrix& x, GuardedMatrix& y, size_t width) {
  return {.x = x.data(),
          .x_stride = x.stride(),
          .rows = 3,
          .width = width,
          .y = y.data(),
          .y_stride = y.stride()};
}

TEST(Rows, Add) {
  for (const size_t width : kWidths) {
    const auto other = GuardedMatrix::Random(3, width, width + 1, 2);
    CheckRows(
        width,
        [&](const Kernels& table, const GuardedMatrix& x, GuardedMatrix& y) {
          table.add(Args(x, y, width), other.data(), other.stride());
        },
        [&](const Kernels&, const GuardedMatrix& x, const GuardedMatrix& y) {
          for (size_t r = 0; r < 3; ++r) {
            for (size_t i = 0; i < width; ++i) {
              ASSERT_EQ(y.at(r, i), x.at(r, i) + other.at(r, i));
            }
          }
        });
  }
}

TEST(Rows, Affine) {
  for (const size_t width : kWidths) {
    const auto gamma = GuardedMatrix::Random(1, width, width, 2);
    const auto beta = GuardedMatrix::Random(1, width, width, 3);
    CheckRows(
        width,
        [&](const Kernels& table, const GuardedMatrix& x, GuardedMatrix& y) {
          table.affine(Args(x, y, width), gamma.data(), beta.data());
        },
        [&](const Kernels& table, const GuardedMatrix& x, const GuardedMatrix& y) {
          for (size_t r = 0; r < 3; ++r) {
            for (size_t i = 0; i < width; ++i) {
              const float fused = std::fma(x.at(r, i), gamma.at(0, i), beta.at(0, i));
              const float product = x.at(r, i) * gamma.at(0, i);
              ASSERT_EQ(y.at(r, i), table.fused ? fused : product + beta.at(0, i));
            }
          }
        });
  }
}

TEST(Rows, LayerNorm) {
  constexpr float kEpsilon = 1e-5f;
  for (const size_t width : kWidths) {
    const auto weight = GuardedMatrix::Random(1, width, width, 2);
    const auto bias = GuardedMatrix::Random(1, width, width, 3);
    CheckRows(
        width,
        [&](const Kernels& table, const GuardedMatrix& x, GuardedMatrix& y) {
          table.layer_norm({.x = x.data(),
                            .x_stride = x.stride(),
                            .rows = 3,
                            .width = width,
                            .weight = weight.data(),
                            .bias = bias.data(),
                            .epsilon = kEpsilon,
                            .y = y.data(),
                            .y_stride = y.stride()});
        },
        [&](const Kernels&, const GuardedMatrix& x, const GuardedMatrix& y) {
          for (size_t r = 0; r < 3; ++r) {
            const double n = static_cast<double>(width);
            double mean = 0, variance = 0, largest = 0;
            for (size_t i = 0; i < width; ++i) {
              mean += x.at(r, i) / n;
              largest = std::max<double>(largest, std::abs(x.at(r, i)));
            }
            for (size_t i = 0; i < width; ++i) variance += std::pow(x.at(r, i) - mean, 2) / n;
            const double scale = 1 / std::sqrt(variance + kEpsilon);
            // 16 partial sums of width / 16 terms, five steps that fold them, one division.
            const double sum_error = (std::ceil(n / 16) + 5) * kRoundoff;
            const double mean_error = sum_error * largest;
            for (size_t i = 0; i < width; ++i) {
              const double normal = (x.at(r, i) - mean) * scale;
              // The distance from the mean is off by the mean's error and a rounding, the scale
              // by half the variance's (which has the mean's twice over) and three roundings.
              const double off = mean_error + kRoundoff * std::abs(x.at(r, i) - mean);
              const double relative =
                  sum_error + 2 * (mean_error + kRoundoff * largest) * scale + 6 * kRoundoff;
              const double expected = normal * weight.at(0, i) + bias.at(0, i);
              const double bound =
                  (off * scale + relative * std::abs(normal)) * std::abs(weight.at(0, i)) +
                  2 * kRoundoff * (std::abs(normal * weight.at(0, i)) + std::abs(bias.at(0, i)));
              ASSERT_NEAR(y.at(r, i), expected, bound) << r << ", " << i;
            }
          }
        });
  }
}

TEST(Rows, LayerNormOfEqualValuesIsItsBias) {
  for (const Kernels* table : AvailableKernels()) {
    std::vector<float> x(40, 3.0f), weight(40, 2.0f), bias(40, 0.5f), y(40);
    table->layer_norm({.x = x.data(),
                       .x_stride = 40,
                       .rows = 1,
                       .width = 40,
                       .weight = weight.data(),
                       .bias = bias.data(),
                       .epsilon = 1e-12f,
                       .y = y.data(),
                       .y_stride = 40});
    for (const float v : y) EXPECT_EQ(v, 0.5f) << table->name;
  }
}

}  // namespace
}  // namespace thimble
