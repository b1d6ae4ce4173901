#include "thimble/formats/rows/expressions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(RowOps, TakeOneOrTwoNumbers) {
  EXPECT_EQ(Operands(RowOp::kSquare), 1);
  EXPECT_EQ(Operands(RowOp::kSquaredDifference), 2);
  EXPECT_EQ(Operands(RowOp::kMean), 0);
  EXPECT_EQ(Operands(RowOp::kConstant), 0);
}

TEST(RowOps, Compute) {
  EXPECT_EQ(Compute(RowOp::kReciprocalSqrt, 4), 0.5);
  EXPECT_EQ(Compute(RowOp::kLeakyRelu, -2, 0, 0.25), -0.5);
  EXPECT_EQ(Compute(RowOp::kSub, 3, 5), -2);
  EXPECT_EQ(Compute(RowOp::kSquaredDifference, 3, 5), 4);
  EXPECT_EQ(Compute(RowOp::kFloorMod, -1, 3), 2);
  EXPECT_NEAR(Compute(RowOp::kGelu, 1), 0.841345, 1e-6);
  EXPECT_NEAR(Compute(RowOp::kGelu, 1, 0, 1), 0.841192, 1e-6);
  EXPECT_EQ(Compute(RowOp::kSoftplus, 1000), 1000);
  EXPECT_TRUE(std::isnan(Compute(RowOp::kMean, 1)));
}

TEST(RowExpressions, AreEvaluated) {
  RowExpressions rows;
  const ExprId x = rows.Base(3);
  const ExprId centered = rows.Apply(RowOp::kSub, x, rows.Apply(RowOp::kMean, x));
  const ExprId y = rows.Apply(RowOp::kMul, centered, rows.Constant({1, 10, 100}));
  EXPECT_THAT(rows.Evaluate(y, x, std::vector<double>{1, 2, 6}), ElementsAre(-2, -10, 300));
  EXPECT_THAT(rows.Evaluate(y, centered, std::vector<double>{1, 2, 6}), ElementsAre(1, 20, 600));
  const ExprId norm = rows.Apply(RowOp::kNorm, x);
  EXPECT_THAT(rows.Evaluate(norm, x, std::vector<double>{2, 3, 6}), ElementsAre(7, 7, 7));
}

TEST(RowExpressions, KnowWidthAndBase) {
  RowExpressions rows;
  const ExprId x = rows.Base(3), gain = rows.Constant({1, 2, 3});
  const ExprId mean = rows.Apply(RowOp::kMean, x);
  EXPECT_EQ(rows[mean].width, 1);
  EXPECT_EQ(rows[rows.Apply(RowOp::kSqrt, mean)].width, 1);
  EXPECT_EQ(rows[rows.Apply(RowOp::kMul, gain, mean)].width, 3);
  EXPECT_EQ(rows[rows.Apply(RowOp::kMul, gain, mean)].base, x);
  EXPECT_EQ(rows[gain].base, kNoExpr);
}

TEST(RowExpressions, ConstantsThatAreAlikeAreANumber) {
  RowExpressions rows;
  const ExprId ones = rows.Constant({1, 1, 1});
  EXPECT_EQ(rows.NumberOf(ones), 1);
  EXPECT_EQ(rows[ones].width, 3);
  EXPECT_EQ(rows.NumberOf(rows.Constant({1, 2, 1})), std::nullopt);
  EXPECT_EQ(rows.NumberOf(rows.Base(3)), std::nullopt);
}

TEST(RowExpressions, CutsOfADiamond) {
  RowExpressions rows;
  const ExprId x = rows.Base(4);
  const ExprId top = rows.Apply(RowOp::kTanh, x);
  const ExprId left = rows.Apply(RowOp::kExp, top), right = rows.Apply(RowOp::kAbs, top);
  const ExprId bottom = rows.Apply(RowOp::kAdd, left, right);
  const ExprId y = rows.Apply(RowOp::kMul, rows.Constant({2}), bottom);
  EXPECT_THAT(rows.Cuts(y), ElementsAre(x, top, bottom));
  EXPECT_THAT(rows.Cuts(bottom), ElementsAre(x, top));
  EXPECT_THAT(rows.Cuts(x), IsEmpty());
}

TEST(RowExpressions, NothingCutsWhatPassesTheMiddleBy) {
  RowExpressions rows;
  const ExprId x = rows.Base(4), middle = rows.Apply(RowOp::kTanh, x);
  EXPECT_THAT(rows.Cuts(rows.Apply(RowOp::kAdd, middle, x)), ElementsAre(x));
}

// Of which there are more paths than numbers hold.
TEST(RowExpressions, CutsOfManyDiamonds) {
  RowExpressions rows;
  const ExprId x = rows.Base(4);
  std::vector<ExprId> want = {x};
  for (int i = 0; i < 80; ++i) want.push_back(rows.Apply(RowOp::kAdd, want.back(), want.back()));
  const ExprId y = want.back();
  want.pop_back();
  EXPECT_EQ(rows.Cuts(y), want);
}

TEST(RowExpressions, OfTooManyPiecesHaveNoCuts) {
  RowExpressions rows;
  ExprId y = rows.Base(4);
  for (int i = 0; i < 1000; ++i) y = rows.Apply(RowOp::kAdd, y, y);
  EXPECT_THAT(rows.Cuts(y), IsEmpty());
}

}  // namespace
}  // namespace thimble
