#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "thimble/graph/ops/testing.h"

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::FloatEq;

OpCall Attention(ReferenceValue q, ReferenceValue k, ReferenceValue v, AttentionAttrs attrs = {}) {
  return {.op = OpKind::kAttention,
          .inputs = {std::move(q), std::move(k), std::move(v)},
          .attrs = attrs};
}

// Scores of the first query are log 1 and log 3: its weights are 1/4 and 3/4.
TEST(Attention, WeighsValuesBySoftmaxOfScores) {
  const auto log3 = static_cast<float>(std::log(3.0));
  EXPECT_THAT(Attention(Floats(1, {1, 0}), Floats(1, {0, log3}), Floats(1, {4, 8})).Run()->floats,
              ElementsAre(FloatEq(7), FloatEq(6)));
  EXPECT_THAT(Attention(Floats(1, {2, 0}), Floats(1, {0, log3}), Floats(1, {4, 8}),
                        {.heads = 1, .scale = 0.5})
                  .Run()
                  ->floats,
              ElementsAre(FloatEq(7), FloatEq(6)));
}

// Two heads: head 0 picks token 0, head 1 picks token 1, by scores 1000 apart.
TEST(Attention, KeepsHeadsApartAndValuesMayBeWiderThanKeys) {
  const OpCall call = Attention(Floats(2, {1, 1, 1, 1}), Floats(2, {1000, 0, 0, 1000}),
                                Floats(4, {1, 2, 3, 4, 5, 6, 7, 8}), {.heads = 2});
  EXPECT_THAT(call.Run()->floats, ElementsAre(1, 2, 7, 8, 1, 2, 7, 8));
}

TEST(Attention, StaysInsideEverySequence) {
  OpCall call = Attention(Floats(1, {0, 0, 0}), Floats(1, {0, 0, 0}), Floats(1, {1, 3, 100}));
  call.offsets = {0, 2, 3};
  EXPECT_THAT(call.Run()->floats, ElementsAre(2, 2, 100));
}

TEST(Attention, LeavesMaskedKeysOutButComputesTheirRows) {
  OpCall call = Attention(Floats(1, {0, 0, 0}), Floats(1, {0, 9, 0}), Floats(1, {1, 50, 3}));
  call.mask = {1, 0, 1};
  EXPECT_THAT(call.Run()->floats, ElementsAre(2, 2, 2));
}

TEST(Attention, CountsEveryKeyAlikeWhereAllAreMasked) {
  OpCall call = Attention(Floats(1, {5, 5, 1}), Floats(1, {9, 0, 1}), Floats(1, {1, 3, 7}));
  call.offsets = {0, 2, 3};
  call.mask = {0, 0, 1};
  EXPECT_THAT(call.Run()->floats, ElementsAre(2, 2, 7));
}

TEST(Attention, TakesOneQueryPerSequence) {
  OpCall call =
      Attention(Floats(1, {0, 0}, Rows::kSequences), Floats(1, {0, 0, 0}), Floats(1, {1, 3, 100}));
  call.offsets = {0, 2, 3};
  const Result<ReferenceValue> value = call.Run();
  EXPECT_EQ(value->type.rows, Rows::kSequences);
  EXPECT_THAT(value->floats, ElementsAre(2, 100));
}

TEST(Attention, SurvivesScoresThatOverflowTheExponential) {
  const OpCall call = Attention(Floats(1, {1e4f, -1e4f}), Floats(1, {1, -1}), Floats(1, {3, 4}));
  EXPECT_THAT(call.Run()->floats, ElementsAre(3, 4));
}

TEST(Attention, CostsGrowWithTheSquareOfTheLength) {
  const OpCall call = Attention(Floats(8, {}), Floats(8, {}), Floats(4, {}), {.heads = 2});
  EXPECT_EQ(call.CostAt({.tokens = 60, .sequences = 3}).macs, 60 * 20 * (8 + 4));
  const OpCall pooled =
      Attention(Floats(8, {}, Rows::kSequences), Floats(8, {}), Floats(4, {}), {.heads = 2});
  EXPECT_EQ(pooled.CostAt({.tokens = 60, .sequences = 3}).macs, 3 * 20 * (8 + 4));
}

TEST(Attention, RefusesWidthsAndHeadsThatDoNotFit) {
  const ReferenceValue two = Floats(2, {1, 2}), three = Floats(3, {1, 2, 3});
  EXPECT_EQ(Attention(two, three, two).Refusal(), "queries have width 2, keys 3");
  EXPECT_EQ(Attention(two, two, three, {.heads = 2}).Refusal(),
            "widths 2 and 3 do not divide into 2 heads");
  EXPECT_EQ(Attention(two, two, two, {.heads = 0}).Refusal(),
            "widths 2 and 2 do not divide into 0 heads");
  EXPECT_EQ(Attention(two, two, two, {.heads = -1}).Refusal(),
            "widths 2 and 2 do not divide into -1 heads");
  EXPECT_EQ(Attention(two, Floats(2, {1, 2}, Rows::kSequences), two).Refusal(),
            "keys and values must have one row per token");
  EXPECT_EQ(Attention(two, two, two, {.scale = std::numeric_limits<double>::quiet_NaN()}).Refusal(),
            "its scale is not finite");
  EXPECT_EQ(Attention(two, two, Ids({1})).Refusal(), "takes numbers, not ids");
}

}  // namespace
}  // namespace thimble
