#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/graph/ops/testing.h"

namespace thimble {
namespace {

using testing::ElementsAre;

TEST(Trigram, PutsNextCurrentAndPreviousSideBySide) {
  const OpCall call{.op = OpKind::kTrigram, .inputs = {Floats(2, {1, 2, 3, 4, 5, 6})}};
  const Result<ReferenceValue> value = call.Run();
  EXPECT_EQ(value->type.width, 6);
  EXPECT_THAT(value->floats, ElementsAre(3, 4, 1, 2, 0, 0,  //
                                         5, 6, 3, 4, 1, 2,  //
                                         0, 0, 5, 6, 3, 4));
}

TEST(Trigram, DoesNotLookAcrossSequences) {
  const OpCall call{.op = OpKind::kTrigram, .inputs = {Floats(1, {1, 2, 3})}, .offsets = {0, 1, 3}};
  EXPECT_THAT(call.Run()->floats, ElementsAre(0, 1, 0, 3, 2, 0, 0, 3, 2));
}

// Packed and padded runs of a model differ only by this: padding is a neighbour, absence is zero.
TEST(Trigram, SeesMaskedNeighbours) {
  const OpCall call{.op = OpKind::kTrigram, .inputs = {Floats(1, {1, 2})}, .mask = {1, 0}};
  EXPECT_THAT(call.Run()->floats, ElementsAre(2, 1, 0, 0, 2, 1));
}

TEST(Trigram, RefusesRowsOfSequences) {
  const OpCall call{.op = OpKind::kTrigram, .inputs = {Floats(1, {1}, Rows::kSequences)}};
  EXPECT_EQ(call.Refusal(), "takes one row per token");
  const OpCall ids{.op = OpKind::kTrigram, .inputs = {Ids({1})}};
  EXPECT_EQ(ids.Refusal(), "takes numbers, not ids");
}

}  // namespace
}  // namespace thimble
