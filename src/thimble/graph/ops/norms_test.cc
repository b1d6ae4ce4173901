// layer_norm, affine and l2_normalize: what is done to a row as a whole.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "thimble/graph/ops/testing.h"

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::FloatEq;

Tensor RowOf(std::vector<float> values) {
  return Tensor::FromFloats({static_cast<int64_t>(values.size())}, values);
}

OpCall LayerNorm(std::vector<float> row, double epsilon) {
  const auto width = static_cast<int64_t>(row.size());
  return {.op = OpKind::kLayerNorm,
          .inputs = {Floats(width, row)},
          .weights = {RowOf(std::vector<float>(row.size(), 2.0f)),
                      RowOf(std::vector<float>(row.size(), 1.0f))},
          .attrs = LayerNormAttrs{epsilon}};
}

// Mean 2, variance 1 (of the population).
TEST(LayerNorm, ScalesToUnitVarianceThenByGainAndBias) {
  EXPECT_THAT(LayerNorm({1, 3}, 0).Run()->floats, ElementsAre(FloatEq(-1), FloatEq(3)));
  EXPECT_THAT(LayerNorm({1, 3}, 3).Run()->floats, ElementsAre(FloatEq(0), FloatEq(2)));
}

TEST(LayerNorm, GivesTheBiasForAConstantRow) {
  EXPECT_THAT(LayerNorm({7, 7, 7}, 1e-12).Run()->floats, ElementsAre(1, 1, 1));
}

// 2^24 + {0, 2}: the square of the mean would drown the variance in float32.
TEST(LayerNorm, KeepsAVarianceFarBelowTheMean) {
  EXPECT_THAT(LayerNorm({0x1p24f, 0x1p24f + 2}, 0).Run()->floats,
              ElementsAre(FloatEq(-1), FloatEq(3)));
}

TEST(LayerNorm, RefusesEpsilonsThatAreNone) {
  const char* const message = "epsilon is not a small positive number";
  EXPECT_EQ(LayerNorm({1, 3}, -1e-12).Refusal(), message);
  EXPECT_EQ(LayerNorm({1, 3}, std::numeric_limits<double>::quiet_NaN()).Refusal(), message);
  EXPECT_EQ(LayerNorm({1, 3}, std::numeric_limits<double>::infinity()).Refusal(), message);
}

TEST(Affine, ScalesAndShiftsEveryColumn) {
  const OpCall call{.op = OpKind::kAffine,
                    .inputs = {Floats(2, {1, 2, 3, 4})},
                    .weights = {RowOf({2, -1}), RowOf({0, 10})}};
  EXPECT_THAT(call.Run()->floats, ElementsAre(2, 8, 6, 6));
}

TEST(Norms, RefuseGainsOfAnotherWidth) {
  for (const OpKind op : {OpKind::kAffine, OpKind::kLayerNorm}) {
    Attributes attrs = NoAttrs{};
    if (op == OpKind::kLayerNorm) attrs = LayerNormAttrs{};
    OpCall call{.op = op,
                .inputs = {Floats(2, {1, 2})},
                .weights = {RowOf({1, 1}), RowOf({1, 1, 1})},
                .attrs = attrs};
    EXPECT_EQ(call.Refusal(), "weight 1 is [3] f32, must be floats [2]");
    call.weights.pop_back();
    EXPECT_EQ(call.Refusal(), "takes 2 weights, has 1");
  }
}

OpCall L2Normalize(std::vector<float> rows) {
  return {.op = OpKind::kL2Normalize, .inputs = {Floats(2, std::move(rows))}};
}

TEST(L2Normalize, GivesRowsOfLengthOneAndLeavesZeroAlone) {
  EXPECT_THAT(L2Normalize({3, -4, 0, 0}).Run()->floats,
              ElementsAre(FloatEq(0.6f), FloatEq(-0.8f), 0, 0));
}

// The squares of these leave the range of float32 on either side.
TEST(L2Normalize, SurvivesVeryLargeAndVerySmallRows) {
  EXPECT_THAT(L2Normalize({3e30f, 4e30f, 3e-30f, 4e-30f}).Run()->floats,
              ElementsAre(FloatEq(0.6f), FloatEq(0.8f), FloatEq(0.6f), FloatEq(0.8f)));
}

}  // namespace
}  // namespace thimble
