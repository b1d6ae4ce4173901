#include "thimble/graph/activation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "thimble/graph/ops/testing.h"

namespace thimble {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<Activation> All() {
  std::vector<Activation> all;
#define ACTIVATION(enumerator, name) all.push_back(Activation::enumerator);
#define ACTIVATION_ALIAS(alias, enumerator)
#include "thimble/graph/activations.inc"
#undef ACTIVATION
#undef ACTIVATION_ALIAS
  return all;
}

// Twelve digits of independent evaluations (Python's math module) of the published formulas.
struct Known {
  Activation function;
  double x, y;
};
const Known kKnown[] = {
    {Activation::kIdentity, -3, -3},
    {Activation::kRelu, -3, 0},
    {Activation::kRelu, 3, 3},
    {Activation::kRelu6, 7, 6},
    {Activation::kRelu2, -3, 0},
    {Activation::kRelu2, 3, 9},
    {Activation::kGelu, -1.5, -0.100210801903287},
    {Activation::kGelu, 0.75, 0.580029485717349},
    {Activation::kGeluTanh, -1.5, -0.100428423019767},
    {Activation::kGeluTanh, 0.75, 0.57996055516562},
    {Activation::kQuickGelu, -1.5, -0.108337801552923},
    {Activation::kQuickGelu, 0.75, 0.586390057534638},
    {Activation::kGelu10, -1.5, -0.100210801903287},
    {Activation::kGelu10, 0.75, 0.580029485717349},
    {Activation::kGelu10, 12, 10},
    {Activation::kLeakyRelu, -1.5, -0.015},
    {Activation::kLeakyRelu, 0.75, 0.75},
    {Activation::kSilu, -1.5, -0.273638285709535},
    {Activation::kSilu, 0.75, 0.509384024381545},
    {Activation::kMish, -1.5, -0.298099742166807},
    {Activation::kMish, 0.75, 0.610018335218293},
    {Activation::kSigmoid, -1.5, 0.182425523806356},
    {Activation::kSigmoid, 0.75, 0.679178699175393},
    {Activation::kTanh, -1.5, -0.905148253644866},
    {Activation::kTanh, 0.75, 0.635148952387287},
};

TEST(Activation, AgreesWithKnownValues) {
  for (const Known& k : kKnown) {
    EXPECT_NEAR(ApplyActivation(k.function, k.x), k.y, 1e-12 * std::max(1.0, std::abs(k.y)))
        << ActivationName(k.function) << "(" << k.x << ")";
  }
}

// f(x) ~ x or a constant far to the right; nothing far to the left; 0 or 1/2 in the middle.
TEST(Activation, StaysFiniteFarOut) {
  for (const Activation f : All()) {
    for (const double x : {-1e30, -800.0, -40.0, 40.0, 800.0, 1e30}) {
      EXPECT_TRUE(std::isfinite(ApplyActivation(f, x))) << ActivationName(f) << "(" << x << ")";
    }
    const double middle = ApplyActivation(f, 0.0);
    EXPECT_EQ(middle, f == Activation::kSigmoid ? 0.5 : 0.0) << ActivationName(f);
  }
}

TEST(Activation, HandsNotANumberOn) {
  for (const Activation f : All()) {
    EXPECT_TRUE(std::isnan(ApplyActivation(f, std::nan("")))) << ActivationName(f);
  }
}

TEST(Activation, SaturatesAtTheEnds) {
  EXPECT_EQ(ApplyActivation(Activation::kTanh, kInfinity), 1);
  EXPECT_EQ(ApplyActivation(Activation::kSigmoid, -kInfinity), 0);
  EXPECT_EQ(ApplyActivation(Activation::kRelu6, kInfinity), 6);
}

TEST(Activation, IsFoundByItsNameAndItsAliases) {
  for (const Activation f : All()) EXPECT_EQ(ActivationFromName(ActivationName(f)), f);
  EXPECT_EQ(ActivationFromName("gelu_fast"), Activation::kGeluTanh);
  EXPECT_EQ(ActivationFromName("gelu_pytorch_tanh"), Activation::kGeluTanh);
  EXPECT_EQ(ActivationFromName("gelu_accurate"), Activation::kGeluTanh);
  EXPECT_EQ(ActivationFromName("gelu_python"), Activation::kGelu);
  EXPECT_EQ(ActivationFromName("swish"), Activation::kSilu);
  EXPECT_EQ(ActivationFromName("GELU"), std::nullopt);
  EXPECT_EQ(ActivationFromName(""), std::nullopt);
}

TEST(Activation, IsAppliedToEveryElement) {
  const OpCall call{.op = OpKind::kActivation,
                    .inputs = {Floats(2, {-1, 2, 3, -4})},
                    .attrs = ActivationAttrs{Activation::kRelu}};
  EXPECT_THAT(call.Run()->floats, testing::ElementsAre(0, 2, 3, 0));
  EXPECT_EQ(*call.Infer(), call.inputs[0].type);
}

}  // namespace
}  // namespace thimble
