// Activation functions against double, over samples of all floats and densely where they bend.
#include <cmath>
#include <limits>

#include "thimble/base/bit_cast.h"
#include "thimble/graph/activation.h"
#include "thimble/runtime/kernels/test_support.h"

namespace thimble {
namespace {

// The stated error: units in the last place of the result, and in that of the input where the
// function nears zero by cancellation. The last term covers what underflows on the way.
struct Accuracy {
  Activation function;
  double result_ulps, input_ulps;
};
constexpr double kUnderflow = 0x1p-118;

constexpr Accuracy kAccuracies[] = {
    {Activation::kIdentity, 0, 0},    {Activation::kRelu, 0, 0},
    {Activation::kRelu6, 0, 0},       {Activation::kRelu2, 0.5, 0},
    {Activation::kGelu, 0, 3.5},      {Activation::kGeluTanh, 0, 2.5},
    {Activation::kQuickGelu, 0, 2.5}, {Activation::kGelu10, 0, 3.5},
    {Activation::kLeakyRelu, 1, 0},   {Activation::kSilu, 3, 0},
    {Activation::kMish, 5, 0},        {Activation::kSigmoid, 3, 0},
    {Activation::kTanh, 6, 0},
};

double UnitInTheLastPlace(double x) {
  return std::ldexp(1.0, std::max(std::ilogb(std::max(std::abs(x), 0x1p-126)), -126) - 23);
}

std::vector<float> Samples() {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 16411) {
    const float value = BitCast<float>(static_cast<uint32_t>(bits));
    if (std::isfinite(value)) x.push_back(value);
  }
  for (int i = -60000; i <= 60000; ++i) x.push_back(static_cast<float>(i) * 0.00035f);
  return x;
}

TEST(Activation, EveryFunctionIsJudged) {
  size_t count = 0;
#define ACTIVATION(enumerator, name) ++count;
#define ACTIVATION_ALIAS(alias, enumerator)
#include "thimble/graph/activations.inc"
#undef ACTIVATION
#undef ACTIVATION_ALIAS
  EXPECT_EQ(std::size(kAccuracies), count);
}

TEST(Activation, IsAsAccurateAsStated) {
  const std::vector<float> x = Samples();
  for (const Accuracy& accuracy : kAccuracies) {
    SCOPED_TRACE(std::string(ActivationName(accuracy.function)));
    ForEachTable(
        [&](const Kernels& table) {
          GuardedMatrix y(1, x.size(), x.size());
          table.activation({.x = x.data(),
                            .x_stride = x.size(),
                            .rows = 1,
                            .width = x.size(),
                            .y = y.data(),
                            .y_stride = y.stride()},
                           accuracy.function);
          return y;
        },
        [&](const Kernels&, const GuardedMatrix& y) {
          for (size_t i = 0; i < x.size(); ++i) {
            const double expected = ApplyActivation(accuracy.function, x[i]);
            if (!std::isfinite(static_cast<float>(expected))) continue;
            const double bound = accuracy.result_ulps * UnitInTheLastPlace(expected) +
                                 accuracy.input_ulps * UnitInTheLastPlace(x[i]) +
                                 (accuracy.result_ulps + accuracy.input_ulps) * kUnderflow;
            ASSERT_NEAR(y.at(0, i), expected, bound) << "x = " << x[i];
          }
        });
  }
}

TEST(Activation, EveryWidth) {
  for (size_t width = 1; width <= 40; ++width) {
    const auto x = GuardedMatrix::Random(2, width, width + 3, 1, width % 4);
    for (const Accuracy& accuracy : kAccuracies) {
      ForEachTable(
          [&](const Kernels& table) {
            GuardedMatrix y(2, width, width + 1, 1);
            table.activation({.x = x.data(),
                              .x_stride = x.stride(),
                              .rows = 2,
                              .width = width,
                              .y = y.data(),
                              .y_stride = y.stride()},
                             accuracy.function);
            return y;
          },
          [&](const Kernels&, const GuardedMatrix& y) {
            for (size_t i = 0; i < width; ++i) {
              const double expected = ApplyActivation(accuracy.function, x.at(1, i));
              EXPECT_NEAR(y.at(1, i), expected, 1e-6 * (1 + std::abs(expected)));
            }
          });
    }
  }
}

TEST(Activation, KeepsNaNAndLimits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const Kernels* table : AvailableKernels()) {
    for (const Accuracy& accuracy : kAccuracies) {
      SCOPED_TRACE(std::string(table->name) + " " + std::string(ActivationName(accuracy.function)));
      const float x[] = {std::numeric_limits<float>::quiet_NaN(), kInfinity};
      float y[2];
      table->activation({.x = x, .x_stride = 2, .rows = 1, .width = 2, .y = y, .y_stride = 2},
                        accuracy.function);
      EXPECT_TRUE(std::isnan(y[0]));
      EXPECT_EQ(y[1], static_cast<float>(ApplyActivation(accuracy.function, kInfinity)));
    }
  }
}

}  // namespace
}  // namespace thimble
