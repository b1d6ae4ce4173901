#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/base/half.h"
#include "thimble/graph/ops/testing.h"
#include "thimble/graph/panels.h"

namespace thimble {
namespace {

using testing::ElementsAre;

OpCall Lookup(std::vector<int32_t> ids, Tensor table) {
  return {.op = OpKind::kEmbedding, .inputs = {Ids(std::move(ids))}, .weights = {std::move(table)}};
}

Tensor Table() { return Tensor::FromFloats({3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6}); }

Tensor Int8Table() {
  static constexpr int8_t kValues[] = {127, -127, 2, 0};
  static constexpr float kScales[] = {0.5f, 4.0f};
  return Tensor::Copy(DType::kI8, {2, 2}, std::as_bytes(std::span(kValues)))
      .WithScales(kScales, nullptr);
}

TEST(Embedding, GivesTheRowOfEveryId) {
  EXPECT_THAT(Lookup({2, 0, 2}, Table()).Run()->floats, ElementsAre(5, 6, 1, 2, 5, 6));
}

TEST(Embedding, WidensHalvesAndDequantizesInt8) {
  const uint16_t halves[] = {FloatToHalf(0.5f), FloatToHalf(-3.0f)};
  EXPECT_THAT(Lookup({0}, Tensor::Copy(DType::kF16, {1, 2}, std::as_bytes(std::span(halves))))
                  .Run()
                  ->floats,
              ElementsAre(0.5f, -3.0f));
  EXPECT_THAT(Lookup({1, 0}, Int8Table()).Run()->floats, ElementsAre(8, 0, 63.5f, -63.5f));
}

TEST(Embedding, NamesAnIdOutsideTheTable) {
  for (const int32_t id : {-1, 3, 1 << 30}) {
    const Result<ReferenceValue> value = Lookup({0, id}, Table()).Run();
    ASSERT_FALSE(value.has_value());
    EXPECT_EQ(value.error().message(),
              "id " + std::to_string(id) + " is not in the table of 3 rows");
  }
}

TEST(Embedding, ReadsOnlyTheRowsItLooksUp) {
  EXPECT_EQ(Lookup({0}, Table()).CostAt({.tokens = 10, .sequences = 2}).weight_bytes, 80);
  EXPECT_EQ(Lookup({0}, Int8Table()).CostAt({.tokens = 10, .sequences = 2}).weight_bytes, 60);
  EXPECT_EQ(Lookup({0}, Table()).CostAt({.tokens = 10, .sequences = 2}).macs, 0);
}

TEST(Embedding, RefusesTablesThatCannotBeLookedUp) {
  EXPECT_EQ(Lookup({0}, PackPanels(Table())).Refusal(), "its table must be row-major");
  EXPECT_EQ(Lookup({0}, Tensor::FromFloats({2}, std::vector<float>{1, 2})).Refusal(),
            "weight 0 is [2], must be a matrix");
  EXPECT_EQ(Lookup({0}, Tensor::FromFloats({0, 4}, {})).Refusal(),
            "weight 0 is [0, 4], must be a matrix");
  const int8_t raw[] = {1, 2};
  EXPECT_EQ(Lookup({0}, Tensor::Copy(DType::kI8, {1, 2}, std::as_bytes(std::span(raw)))).Refusal(),
            "weight 0 is i8 without scales");
  EXPECT_EQ(Lookup({0}, Tensor::Copy(DType::kU8, {1, 2}, std::as_bytes(std::span(raw)))).Refusal(),
            "weight 0 is u8, must be f32, f16, bf16, i8, i8g or i4g");
  OpCall numbers = Lookup({}, Table());
  numbers.inputs = {Floats(1, {0})};
  EXPECT_EQ(numbers.Refusal(), "takes ids, not numbers");
}

}  // namespace
}  // namespace thimble
