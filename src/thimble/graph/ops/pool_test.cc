#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/graph/ops/testing.h"

namespace thimble {
namespace {

using testing::ElementsAre;

OpCall Pool(PoolKind kind, std::vector<uint8_t> mask = {}) {
  return {.op = OpKind::kPool,
          .inputs = {Floats(2, {1, 2, 3, 4, 5, 6})},
          .attrs = PoolAttrs{kind},
          .offsets = {0, 2, 3},
          .mask = std::move(mask)};
}

TEST(Pool, TakesTheFirstTokenEvenIfItIsMasked) {
  const Result<ReferenceValue> value = Pool(PoolKind::kFirst).Run();
  EXPECT_EQ(value->type, (ValueType{Element::kFloat32, Rows::kSequences, 2}));
  EXPECT_THAT(value->floats, ElementsAre(1, 2, 5, 6));
  EXPECT_THAT(Pool(PoolKind::kFirst, {0, 1, 1}).Run()->floats, ElementsAre(1, 2, 5, 6));
}

TEST(Pool, TakesTheMeanOfTheTokensThatAreNotMasked) {
  EXPECT_THAT(Pool(PoolKind::kMean).Run()->floats, ElementsAre(2, 3, 5, 6));
  EXPECT_THAT(Pool(PoolKind::kMean, {0, 1, 1}).Run()->floats, ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(Pool(PoolKind::kMean, {1, 1, 0}).Run()->floats, ElementsAre(2, 3, 0, 0));
}

TEST(Pool, RefusesWhatIsPooledAlready) {
  OpCall call = Pool(PoolKind::kFirst);
  call.inputs = {Floats(2, {1, 2}, Rows::kSequences)};
  EXPECT_EQ(call.Refusal(), "takes one row per token");
}

}  // namespace
}  // namespace thimble
