#include "thimble/formats/rows/recognise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

namespace thimble {
namespace {

using testing::Each;
using Kind = RowFunction::Kind;

// Expressions as formulas.
class Recognition : public testing::Test {
 protected:
  // Constants are as exact as in a file.
  ExprId C(double value) { return rows_.Constant({static_cast<float>(value)}); }
  ExprId C(std::vector<double> values) {
    for (double& value : values) value = static_cast<float>(value);
    return rows_.Constant(std::move(values));
  }
  ExprId Of(RowOp op, ExprId x, double parameter = 0) {
    return rows_.Apply(op, x, kNoExpr, parameter);
  }
  ExprId Add(ExprId a, ExprId b) { return rows_.Apply(RowOp::kAdd, a, b); }
  ExprId Sub(ExprId a, ExprId b) { return rows_.Apply(RowOp::kSub, a, b); }
  ExprId Mul(ExprId a, ExprId b) { return rows_.Apply(RowOp::kMul, a, b); }
  ExprId Div(ExprId a, ExprId b) { return rows_.Apply(RowOp::kDiv, a, b); }
  ExprId Pow(ExprId a, double b) { return rows_.Apply(RowOp::kPow, a, C(b)); }
  ExprId Max(ExprId a, ExprId b) { return rows_.Apply(RowOp::kMax, a, b); }
  ExprId Min(ExprId a, ExprId b) { return rows_.Apply(RowOp::kMin, a, b); }
  ExprId Mean(ExprId x) { return Of(RowOp::kMean, x); }

  std::optional<RowFunction> Recognised(ExprId y) { return Recognise(rows_, y, x_); }
  void ExpectNothing(ExprId y) {
    const auto f = Recognised(y);
    EXPECT_FALSE(f) << "kind " << static_cast<int>(f->kind);
  }
  void ExpectActivation(ExprId y, Activation function) {
    const auto f = Recognised(y);
    ASSERT_TRUE(f);
    ASSERT_EQ(f->kind, Kind::kActivation);
    EXPECT_EQ(ActivationName(f->activation), ActivationName(function));
  }
  void ExpectNorm(ExprId y, ExprId gain, ExprId bias, double epsilon) {
    const auto f = Recognised(y);
    ASSERT_TRUE(f);
    ASSERT_EQ(f->kind, Kind::kLayerNorm);
    EXPECT_EQ(f->epsilon, epsilon);
    EXPECT_EQ(f->weight.values, Spread(gain));
    EXPECT_EQ(f->bias.values, Spread(bias));
    EXPECT_EQ(f->weight.constant, gain);
    EXPECT_EQ(f->bias.constant, bias);
  }
  std::vector<double> Spread(ExprId constant) {
    std::vector<double> values = rows_[constant].values;
    values.resize(kWidth, values[0]);
    return values;
  }

  // x - mean, and the mean of its square.
  struct Moments {
    ExprId centered, variance;
  };
  Moments MomentsOf(ExprId x) {
    const ExprId centered = Sub(x, Mean(x));
    return {centered, Mean(Mul(centered, centered))};
  }

  static constexpr int64_t kWidth = 6;
  RowExpressions rows_;
  const ExprId x_ = rows_.Base(kWidth);
};

using Gelu = Recognition;

TEST_F(Gelu, ByErf) {
  const ExprId erf = Of(RowOp::kErf, Div(x_, C(std::sqrt(2))));
  ExpectActivation(Mul(Mul(x_, Add(erf, C(1))), C(0.5)), Activation::kGelu);
  ExpectActivation(Mul(Mul(C(0.5), x_), Add(C(1), erf)), Activation::kGelu);
  ExpectActivation(Mul(x_, Mul(C(0.5), Add(C(1), erf))), Activation::kGelu);
  ExpectActivation(Mul(x_, Mul(C(0.5), Add(C(1), Of(RowOp::kErf, Mul(x_, C(std::sqrt(0.5))))))),
                   Activation::kGelu);
}

// What converters that know no error function write: Abramowitz and Stegun, 7.1.26.
TEST_F(Gelu, ByAPolynomial) {
  const ExprId z = Mul(x_, C(std::sqrt(0.5)));
  const ExprId a = Of(RowOp::kAbs, z);
  const ExprId t = Of(RowOp::kReciprocal, Add(C(1), Mul(C(0.3275911), a)));
  ExprId sum = C(1.061405429);
  for (const double c : {-1.453152027, 1.421413741, -0.284496736, 0.254829592}) {
    sum = Add(Mul(sum, t), C(c));
  }
  const ExprId tail = Mul(Mul(sum, t), Of(RowOp::kExp, Of(RowOp::kNeg, Mul(a, a))));
  const ExprId erf = Mul(Of(RowOp::kSign, z), Sub(C(1), tail));
  ExpectActivation(Mul(Mul(C(0.5), x_), Add(C(1), erf)), Activation::kGelu);
}

TEST_F(Gelu, ByTanh) {
  for (const ExprId cube : {Pow(x_, 3), Mul(x_, Mul(x_, x_)), Mul(Of(RowOp::kSquare, x_), x_)}) {
    const ExprId inner = Mul(Add(x_, Mul(cube, C(0.044715))), C(std::sqrt(2 / M_PI)));
    const ExprId y = Mul(Mul(x_, C(0.5)), Add(Of(RowOp::kTanh, inner), C(1)));
    ExpectActivation(y, Activation::kGeluTanh);
  }
  const ExprId inner = Mul(Mul(x_, C(0.7978845608)), Add(C(1), Mul(Mul(C(0.044715), x_), x_)));
  ExpectActivation(Mul(Mul(C(0.5), x_), Add(C(1), Of(RowOp::kTanh, inner))), Activation::kGeluTanh);
}

TEST_F(Gelu, AsOneOperation) {
  ExpectActivation(Of(RowOp::kGelu, x_), Activation::kGelu);
  ExpectActivation(Of(RowOp::kGelu, x_, 1), Activation::kGeluTanh);
}

TEST_F(Gelu, Others) {
  ExpectActivation(Mul(x_, Of(RowOp::kSigmoid, Mul(C(1.702), x_))), Activation::kQuickGelu);
  ExpectActivation(Max(Min(Of(RowOp::kGelu, x_), C(10)), C(-10)), Activation::kGelu10);
}

TEST_F(Recognition, Activations) {
  ExpectActivation(Max(x_, C(0)), Activation::kRelu);
  ExpectActivation(Mul(C(0.5), Add(x_, Of(RowOp::kAbs, x_))), Activation::kRelu);
  ExpectActivation(Min(Of(RowOp::kRelu, x_), C(6)), Activation::kRelu6);
  ExpectActivation(Of(RowOp::kSquare, Of(RowOp::kRelu, x_)), Activation::kRelu2);
  ExpectActivation(Of(RowOp::kLeakyRelu, x_, 0.01), Activation::kLeakyRelu);
  ExpectActivation(Max(x_, Mul(x_, C(0.01))), Activation::kLeakyRelu);
  ExpectActivation(Mul(x_, Of(RowOp::kSigmoid, x_)), Activation::kSilu);
  ExpectActivation(Div(x_, Add(C(1), Of(RowOp::kExp, Of(RowOp::kNeg, x_)))), Activation::kSilu);
  ExpectActivation(Mul(x_, Of(RowOp::kTanh, Of(RowOp::kSoftplus, x_))), Activation::kMish);
  ExpectActivation(Mul(x_, Of(RowOp::kTanh, Of(RowOp::kLog, Add(C(1), Of(RowOp::kExp, x_))))),
                   Activation::kMish);
  ExpectActivation(Of(RowOp::kSigmoid, x_), Activation::kSigmoid);
  ExpectActivation(Of(RowOp::kTanh, x_), Activation::kTanh);
  ExpectActivation(Sub(Mul(C(2), Of(RowOp::kSigmoid, Mul(C(2), x_))), C(1)), Activation::kTanh);
}

// Constants that are stored one per column, and alike.
TEST_F(Recognition, ActivationOfVectors) {
  const ExprId half = C(std::vector<double>(kWidth, 0.5)), one = C(std::vector<double>(kWidth, 1));
  const ExprId erf = Of(RowOp::kErf, Mul(x_, C(std::vector<double>(kWidth, std::sqrt(0.5)))));
  ExpectActivation(Mul(Mul(half, x_), Add(one, erf)), Activation::kGelu);
}

TEST_F(Recognition, Identity) {
  const auto is_identity = [&](ExprId y) {
    const auto f = Recognised(y);
    return f && f->kind == Kind::kIdentity && f->Factor() == 1;
  };
  EXPECT_TRUE(is_identity(Add(x_, C(0))));
  EXPECT_TRUE(is_identity(Div(Mul(x_, C(1.1)), C(1.1))));
  EXPECT_TRUE(is_identity(Min(Max(x_, C(-65504)), C(65504))));
  EXPECT_TRUE(is_identity(Mul(x_, C(std::vector<double>(kWidth, 1)))));
  EXPECT_FALSE(is_identity(Mul(x_, C(1 + 0x1p-23))));
  EXPECT_FALSE(is_identity(Add(x_, C(1e-30))));
}

TEST_F(Recognition, AffineAlikeInAllColumns) {
  const auto f = Recognised(Sub(C(3), Mul(x_, C(0.7))));
  ASSERT_TRUE(f);
  ASSERT_EQ(f->kind, Kind::kAffine);
  ASSERT_EQ(f->weight.values.size(), size_t{kWidth});
  EXPECT_THAT(f->weight.values, Each(-0.7f));
  EXPECT_THAT(f->bias.values, Each(3));
  EXPECT_EQ(f->Factor(), std::nullopt);
}

TEST_F(Recognition, Factor) {
  const auto factor = [&](ExprId y) { return Recognised(y)->Factor(); };
  EXPECT_EQ(factor(Mul(x_, C(0.3))), 0.3f);
  EXPECT_EQ(factor(Div(x_, C(8))), 0.125);
  EXPECT_NEAR(*factor(Div(x_, C(std::sqrt(32)))), 1 / std::sqrt(32), 1e-8);
  EXPECT_EQ(factor(Of(RowOp::kTanh, x_)), std::nullopt);
  EXPECT_EQ(factor(Mul(x_, C({1, 2, 3, 4, 5, 6}))), std::nullopt);
}

TEST_F(Recognition, AffinePerColumn) {
  const ExprId gain = C({0.1, -0.2, 0, 4, 5e-3, 6}), bias = C({0, -1.1, 2, 0.3, 4e3, 5});
  for (const ExprId y : {Add(Mul(x_, gain), bias), Sub(bias, Mul(gain, Of(RowOp::kNeg, x_)))}) {
    const auto f = Recognised(y);
    ASSERT_TRUE(f);
    ASSERT_EQ(f->kind, Kind::kAffine);
    EXPECT_EQ(f->weight.values, Spread(gain));
    EXPECT_EQ(f->bias.values, Spread(bias));
    EXPECT_EQ(f->weight.constant, gain);
    EXPECT_EQ(f->bias.constant, bias);
  }
  ExpectNothing(Of(RowOp::kRelu, Add(Mul(x_, gain), bias)));
}

struct NormCase {
  const char* name;
  double epsilon;
  std::vector<double> gain, bias;
};

class LayerNorm : public Recognition, public testing::WithParamInterface<NormCase> {
 protected:
  const ExprId gain_ = C(GetParam().gain), bias_ = C(GetParam().bias);
  const ExprId epsilon_ = C(GetParam().epsilon);
  void ExpectIt(ExprId y) { ExpectNorm(y, gain_, bias_, GetParam().epsilon); }
};

TEST_P(LayerNorm, AsTorchWritesIt) {
  const auto [centered, variance] = MomentsOf(x_);
  const ExprId deviation = Of(RowOp::kSqrt, Add(variance, epsilon_));
  ExpectIt(Add(Mul(Div(centered, deviation), gain_), bias_));
}

TEST_P(LayerNorm, ByPow) {
  const ExprId centered = Sub(x_, Mean(x_));
  const ExprId scale = Pow(Add(Mean(Pow(centered, 2)), epsilon_), -0.5);
  ExpectIt(Add(bias_, Mul(gain_, Mul(centered, scale))));
}

// Gain and mean folded into one factor and one offset, as TensorFlow's batch normalization has it.
TEST_P(LayerNorm, Folded) {
  const ExprId mean = Mean(x_);
  const ExprId variance = Mean(rows_.Apply(RowOp::kSquaredDifference, x_, mean));
  const ExprId factor = Mul(Of(RowOp::kReciprocalSqrt, Add(variance, epsilon_)), gain_);
  ExpectIt(Add(Mul(x_, factor), Sub(bias_, Mul(mean, factor))));
}

// Sums times the reciprocal of the width, which is no float32.
TEST_P(LayerNorm, BySums) {
  const ExprId share = C(1.0 / kWidth);
  const ExprId centered = Sub(x_, Mul(Of(RowOp::kSum, x_), share));
  const ExprId variance = Mul(Of(RowOp::kSum, Mul(centered, centered)), share);
  const ExprId scale = Of(RowOp::kReciprocalSqrt, Add(variance, epsilon_));
  ExpectIt(Add(Mul(Mul(centered, scale), gain_), bias_));
}

// The epsilon is no constant of the expression.
TEST_P(LayerNorm, OfTheLengthOfTheRow) {
  const ExprId centered = Sub(x_, Mean(x_));
  const ExprId squares = Of(RowOp::kSquare, Of(RowOp::kNorm, centered));
  const ExprId total = Add(squares, C(kWidth * GetParam().epsilon));
  const ExprId scaled = Mul(Div(centered, Of(RowOp::kSqrt, total)), C(std::sqrt(kWidth)));
  ExpectIt(Add(Mul(scaled, gain_), bias_));
}

// Half-precision models are cut to its range.
TEST_P(LayerNorm, OfARowThatIsCut) {
  const auto [centered, variance] = MomentsOf(Max(Min(x_, C(65504)), C(-65504)));
  const ExprId deviation = Of(RowOp::kSqrt, Add(variance, epsilon_));
  ExpectIt(Add(Mul(Div(centered, deviation), gain_), bias_));
}

const std::vector<double> kGain = {1.1, -0.7, 0, 0.3, 12, 1e-3}, kBias = {0, 0.1, -2, 3, 1e-5, 0.7};
INSTANTIATE_TEST_SUITE_P(
    Epsilons, LayerNorm,
    testing::Values(NormCase{"1e12", 1e-12, kGain, kBias}, NormCase{"1e6", 1e-6, kGain, kBias},
                    NormCase{"1e5", 1e-5, kGain, kBias}, NormCase{"1e3", 1e-3, kGain, kBias},
                    NormCase{"Plain", 1e-5, {1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0}}),
    [](const auto& one) { return one.param.name; });

TEST_F(Recognition, LayerNormWithoutEpsilon) {
  const auto [centered, variance] = MomentsOf(x_);
  const auto f = Recognised(Div(centered, Of(RowOp::kSqrt, variance)));
  ASSERT_TRUE(f);
  ASSERT_EQ(f->kind, Kind::kLayerNorm);
  EXPECT_EQ(f->epsilon, 0);
  EXPECT_THAT(f->bias.values, Each(0));
  EXPECT_THAT(f->weight.values, Each(testing::DoubleNear(1, 1e-12)));
}

TEST_F(Recognition, LayerNormOfAnActivation) {
  const ExprId y = Of(RowOp::kGelu, x_);
  const auto [centered, variance] = MomentsOf(y);
  const ExprId norm = Div(centered, Of(RowOp::kSqrt, Add(variance, C(1e-5))));
  EXPECT_FALSE(Recognise(rows_, norm, x_));
  const auto f = Recognise(rows_, norm, y);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind, Kind::kLayerNorm);
}

TEST_F(Recognition, NormOfGainsThatAreAllZeroIsItsBias) {
  const auto [centered, variance] = MomentsOf(x_);
  const ExprId scale = Of(RowOp::kReciprocalSqrt, Add(variance, C(1e-5)));
  const auto f = Recognised(Add(Mul(Mul(centered, scale), C(0)), C(2)));
  ASSERT_TRUE(f);
  ASSERT_EQ(f->kind, Kind::kAffine);
  EXPECT_THAT(f->weight.values, Each(0));
  EXPECT_THAT(f->bias.values, Each(2));
}

TEST_F(Recognition, L2Normalize) {
  const ExprId squares = Of(RowOp::kSum, Mul(x_, x_));
  for (const ExprId y :
       {Div(x_, Of(RowOp::kNorm, x_)), Div(x_, Max(Of(RowOp::kNorm, x_), C(1e-12))),
        Mul(x_, Of(RowOp::kReciprocalSqrt, Max(squares, C(1e-12)))), Div(x_, Pow(squares, 0.5))}) {
    const auto f = Recognised(y);
    ASSERT_TRUE(f);
    EXPECT_EQ(f->kind, Kind::kL2Normalize);
  }
}

TEST_F(Recognition, OfNothingElse) {
  const auto [centered, variance] = MomentsOf(x_);
  const ExprId deviation = Of(RowOp::kSqrt, variance);
  ExpectNothing(centered);
  ExpectNothing(Mean(x_));
  ExpectNothing(Add(x_, Mean(x_)));
  ExpectNothing(Div(centered, Add(deviation, C(1e-2))));                      // outside of the root
  ExpectNothing(Div(x_, Of(RowOp::kSqrt, Add(Mean(Mul(x_, x_)), C(1e-6)))));  // RMSNorm
  ExpectNothing(Div(x_, Add(Of(RowOp::kNorm, x_), C(0.1))));
  ExpectNothing(Of(RowOp::kExp, x_));
  ExpectNothing(Of(RowOp::kSqrt, x_));
  ExpectNothing(Of(RowOp::kHardSwish, x_));
  ExpectNothing(Mul(x_, x_));
  ExpectNothing(Add(x_, Mul(C(1e-4), Of(RowOp::kTanh, x_))));  // almost affine
  ExpectNothing(Add(Mul(x_, C({1, 2, 3, 4, 5, 6})), Mul(C(1e-4), Of(RowOp::kTanh, x_))));
  ExpectNothing(Mul(C(2), Of(RowOp::kGelu, x_)));
  ExpectNothing(Mul(x_, C(INFINITY)));
  ExpectNothing(Add(x_, C(NAN)));
  ExpectNothing(Mul(Of(RowOp::kTanh, x_), C({1, 2, 3, 4, 5, 6})));
}

TEST_F(Recognition, NarrowRows) {
  for (const int64_t width : {1, 2, 3}) {
    const ExprId x = rows_.Base(width);
    const auto kind = [&](ExprId y) {
      const auto f = Recognise(rows_, y, x);
      return f ? static_cast<int>(f->kind) : -1;
    };
    EXPECT_EQ(kind(Of(RowOp::kGelu, x)), static_cast<int>(Kind::kActivation));
    const auto [centered, variance] = MomentsOf(x);
    const ExprId norm = Div(centered, Of(RowOp::kSqrt, Add(variance, C(1e-5))));
    EXPECT_EQ(kind(norm), static_cast<int>(width == 1 ? Kind::kAffine : Kind::kLayerNorm));
  }
}

TEST(SixDigits, AsAPersonWritesIt) {
  EXPECT_EQ(SixDigits(1e-12f), 1e-12);
  EXPECT_EQ(SixDigits(1e-5f), 1e-5);
  EXPECT_EQ(SixDigits(0.1f), 0.1);
  EXPECT_EQ(SixDigits(1.23456789e-5), 1.23457e-5);
  EXPECT_EQ(SixDigits(0), 0);
  EXPECT_EQ(SixDigits(-1), 0);
}

}  // namespace
}  // namespace thimble
