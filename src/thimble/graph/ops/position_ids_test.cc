#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/graph/ops/testing.h"

namespace thimble {
namespace {

using testing::ElementsAre;

OpCall Positions(PositionIdsAttrs attrs) {
  return {.op = OpKind::kPositionIds,
          .inputs = {Ids({7, 1, 9, 1, 5, 1})},
          .attrs = attrs,
          .offsets = {0, 4, 6}};
}

TEST(PositionIds, CountFromTheOffsetInEverySequence) {
  EXPECT_THAT(Positions({}).Run()->ints, ElementsAre(0, 1, 2, 3, 0, 1));
  EXPECT_THAT(Positions({.offset = 3}).Run()->ints, ElementsAre(3, 4, 5, 6, 3, 4));
}

TEST(PositionIds, SkipPaddingAsRobertaDoes) {
  EXPECT_THAT(Positions({.offset = 2, .skip_id = 1}).Run()->ints, ElementsAre(2, 1, 3, 1, 2, 1));
}

TEST(PositionIds, RefusesWhatGivesNoPositions) {
  EXPECT_EQ(Positions({.offset = -1}).Refusal(), "offset -1 gives negative positions");
  EXPECT_EQ(Positions({.offset = 0, .skip_id = 1}).Refusal(), "offset 0 gives negative positions");
  EXPECT_EQ(Positions({.offset = kMaxWidth + 1}).Refusal(),
            "offset 16777217 is beyond every table");
  OpCall numbers = Positions({});
  numbers.inputs = {Floats(1, {1, 2})};
  EXPECT_EQ(numbers.Refusal(), "takes token ids");
  numbers.inputs.clear();
  EXPECT_EQ(numbers.Refusal(), "takes 1 inputs, has 0");
}

}  // namespace
}  // namespace thimble
