#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/graph/ops/testing.h"

namespace thimble {
namespace {

TEST(Add, AddsElementByElement) {
  const OpCall call{.op = OpKind::kAdd,
                    .inputs = {Floats(2, {1, 2, 3, 4}), Floats(2, {5, 6, 7, -4})}};
  EXPECT_THAT(call.Run()->floats, testing::ElementsAre(6, 8, 10, 0));
}

TEST(Add, RefusesOperandsThatDiffer) {
  const ReferenceValue two = Floats(2, {1, 2});
  EXPECT_EQ((OpCall{.op = OpKind::kAdd, .inputs = {two, Floats(1, {1})}}).Refusal(),
            "its inputs differ: widths 2 and 1");
  EXPECT_EQ(
      (OpCall{.op = OpKind::kAdd, .inputs = {two, Floats(2, {1, 2}, Rows::kSequences)}}).Refusal(),
      "its inputs differ: widths 2 and 2, tokens and sequences");
  EXPECT_EQ((OpCall{.op = OpKind::kAdd, .inputs = {Ids({1}), Ids({2})}}).Refusal(),
            "takes numbers, not ids");
  EXPECT_EQ((OpCall{.op = OpKind::kAdd, .inputs = {two}}).Refusal(), "takes 2 inputs, has 1");
}

}  // namespace
}  // namespace thimble
