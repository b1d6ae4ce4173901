// Activation functions and their derivatives, of which the oracle is the definition's difference.
#include <limits>

#include "thimble/graph/activation.h"
#include "thimble/train/kernels/test_support.h"

namespace thimble {
namespace {

// How far off a slope is at most, in units of 2^-24. Slopes lie within about [-0.2, 1.2], those of
// relu2 aside.
struct Accuracy {
  Activation function;
  double units;
  std::vector<double> bends;  // where there is no derivative
};

const std::vector<Accuracy>& Accuracies() {
  static const std::vector<Accuracy> all = {
      {Activation::kIdentity, 0, {}},   {Activation::kRelu, 0, {0}},
      {Activation::kRelu6, 0, {0, 6}},  {Activation::kRelu2, 0, {0}},
      {Activation::kGelu, 6, {}},       {Activation::kGeluTanh, 8, {}},
      {Activation::kQuickGelu, 6, {}},  {Activation::kGelu10, 6, {10}},
      {Activation::kLeakyRelu, 1, {0}}, {Activation::kSilu, 6, {}},
      {Activation::kMish, 8, {}},       {Activation::kSigmoid, 2, {}},
      {Activation::kTanh, 8, {}},
  };
  return all;
}

TEST(Slopes, EveryFunctionIsJudged) {
  size_t count = 0;
#define ACTIVATION(enumerator, name) ++count;
#define ACTIVATION_ALIAS(alias, enumerator)
#include "thimble/graph/activations.inc"
#undef ACTIVATION
#undef ACTIVATION_ALIAS
  EXPECT_EQ(Accuracies().size(), count);
}

TEST(Slopes, AreThoseOfTheDefinition) {
  constexpr double kStep = 1e-4;
  for (const Accuracy& accuracy : Accuracies()) {
    SCOPED_TRACE(std::string(ActivationName(accuracy.function)));
    std::vector<float> x, ones;
    for (int i = -12000; i <= 12000; ++i) {
      const float at = static_cast<float>(i) * 0.00101f;
      bool bent = false;
      for (const double bend : accuracy.bends) bent |= std::abs(at - bend) < 3 * kStep;
      if (!bent) x.push_back(at);
    }
    ones.assign(x.size(), 1.0f);
    std::vector<Difference> expected;
    for (const float at : x) {
      const auto f = [&](double v) { return ApplyActivation(accuracy.function, v); };
      expected.push_back(Differentiate(f, at, 0x1p-52 * (1 + std::abs(f(at))), kStep));
    }
    ForEachTrainTable(
        [&](const TrainKernels& table) {
          GuardedMatrix d_x(1, x.size(), x.size());
          table.activation_backward(accuracy.function, x.data(), ones.data(), d_x.data(), x.size());
          return Outputs{d_x};
        },
        [&](const TrainKernels&, const Outputs& d_x) {
          Worst worst("slope");
          for (size_t i = 0; i < x.size(); ++i) {
            worst.Add(i, 0, d_x[0].at(0, i), expected[i].value,
                      accuracy.units * kRoundoff + expected[i].error);
          }
        });
  }
}

TEST(Slopes, OfEveryCountAndInPlace) {
  for (const size_t count : TestedSizes()) {
    const auto x = GuardedMatrix::Random(1, count, count, 1, count % 4);
    const auto d_y = GuardedMatrix::Random(1, count, count, 2, 1);
    for (const Accuracy& accuracy : Accuracies()) {
      SCOPED_TRACE(std::string(ActivationName(accuracy.function)));
      ForEachTrainTable(
          [&](const TrainKernels& table) {
            GuardedMatrix y(1, count, count, 2), in_place = x, d_x(1, count, count, 1), d = d_y;
            table.activation_forward(accuracy.function, x.data(), y.data(), count);
            table.activation_forward(accuracy.function, in_place.data(), in_place.data(), count);
            table.activation_backward(accuracy.function, x.data(), d_y.data(), d_x.data(), count);
            table.activation_backward(accuracy.function, x.data(), d.data(), d.data(), count);
            EXPECT_TRUE(d.SameBits(d_x));
            for (size_t i = 0; i < count; ++i) EXPECT_EQ(in_place.at(0, i), y.at(0, i));
            return Outputs{y, d_x};
          },
          [&](const TrainKernels& table, const Outputs& out) {
            Worst forward("value"), backward("gradient");
            for (size_t i = 0; i < count; ++i) {
              // The runtime's tests judge these functions more finely.
              const double expected = ApplyActivation(accuracy.function, x.at(0, i));
              forward.Add(0, i, out[0].at(0, i), expected,
                          8 * kRoundoff * (std::abs(expected) + std::abs(x.at(0, i)) + 1));
              // A vector's element is that of the element alone.
              const float at = x.at(0, i), one = 1.0f;
              float slope;
              table.activation_backward(accuracy.function, &at, &one, &slope, 1);
              backward.Add(0, i, out[1].at(0, i), d_y.at(0, i) * slope, 0);
            }
          });
    }
  }
}

TEST(Slopes, HaveTheirLimits) {
  constexpr float kMost = std::numeric_limits<float>::max();
  for (const TrainKernels* table : AvailableTrainKernels()) {
    for (const Accuracy& accuracy : Accuracies()) {
      SCOPED_TRACE(std::string(table->name) + " " + std::string(ActivationName(accuracy.function)));
      const float x[] = {-kMost, -100.0f, 100.0f, kMost}, d_y[] = {1, 1, 1, 1};
      float d_x[4];
      table->activation_backward(accuracy.function, x, d_y, d_x, 4);
      for (const float d : d_x) EXPECT_FALSE(std::isnan(d));
      EXPECT_EQ(d_x[0], d_x[1]);
      if (accuracy.function == Activation::kRelu2) continue;
      EXPECT_EQ(d_x[2], d_x[3]);
      for (const float d : d_x) EXPECT_TRUE(d == 0.0f || d == 1.0f || d == 0.01f) << d;
    }
  }
}

TEST(Slopes, OfNothingTouchNothing) {
  for (const TrainKernels* table : AvailableTrainKernels()) {
    GuardedMatrix y(1, 0, 1);
    table->activation_forward(Activation::kGelu, y.data(), y.data(), 0);
    table->activation_backward(Activation::kGelu, y.data(), y.data(), y.data(), 0);
    EXPECT_TRUE(y.GuardsIntact()) << table->name;
  }
}

}  // namespace
}  // namespace thimble
