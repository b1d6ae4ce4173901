#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/base/half.h"
#include "thimble/graph/ops/testing.h"
#include "thimble/graph/panels.h"

namespace thimble {
namespace {

using testing::ElementsAre;

Tensor Vector(std::vector<float> values) {
  return Tensor::FromFloats({static_cast<int64_t>(values.size())}, values);
}

// [3 outputs, 2 inputs]
Tensor Matrix() { return Tensor::FromFloats({3, 2}, std::vector<float>{1, 2, 3, 4, -5, 6}); }

OpCall Linear(std::vector<Tensor> weights, Rows rows = Rows::kTokens, double input_scale = 0) {
  return {.op = OpKind::kLinear,
          .inputs = {Floats(2, {1, 10, -1, 0.5f}, rows)},
          .weights = std::move(weights),
          .attrs = LinearAttrs{input_scale},
          .offsets = {0, 1, 2}};
}

TEST(Linear, MultipliesByTheTransposedWeight) {
  EXPECT_THAT(Linear({Matrix()}).Run()->floats, ElementsAre(21, 43, 55, 0, -1, 8));
  EXPECT_THAT(Linear({Matrix(), Vector({100, 0, -1})}).Run()->floats,
              ElementsAre(121, 43, 54, 100, -1, 7));
}

TEST(Linear, KeepsWhatRowsStandFor) {
  EXPECT_EQ(*Linear({Matrix()}, Rows::kSequences).Infer(),
            (ValueType{Element::kFloat32, Rows::kSequences, 3}));
}

TEST(Linear, TakesEveryTypeAndLayoutOfWeights) {
  const std::vector<float> want = Linear({Matrix()}).Run()->floats;
  std::vector<uint16_t> halves, bfloats;
  std::vector<int8_t> bytes;
  for (const float v : Matrix().ToFloats()) {
    halves.push_back(FloatToHalf(v));
    bfloats.push_back(FloatToBFloat16(v));
    bytes.push_back(static_cast<int8_t>(v * 4));
  }
  const float scales[] = {0.25f, 0.25f, 0.25f};
  const Tensor f16 = Tensor::Copy(DType::kF16, {3, 2}, std::as_bytes(std::span(halves)));
  const Tensor bf16 = Tensor::Copy(DType::kBF16, {3, 2}, std::as_bytes(std::span(bfloats)));
  const Tensor i8 =
      Tensor::Copy(DType::kI8, {3, 2}, std::as_bytes(std::span(bytes))).WithScales(scales, nullptr);
  for (const Tensor& weight :
       {f16, bf16, i8, PackPanels(Matrix()), PackPanels(f16), PackPanels(i8)}) {
    EXPECT_EQ(Linear({weight}).Run()->floats, want) << DTypeName(weight.dtype());
  }
}

// Multiples of the scale, to even between two, 127 of them at most.
TEST(Linear, RoundsItsInputToTheScale) {
  const auto identity = Tensor::FromFloats({2, 2}, std::vector<float>{1, 0, 0, 1});
  EXPECT_THAT(Linear({identity}, Rows::kTokens, 0.4).Run()->floats,
              ElementsAre(2 * 0.4f, 25 * 0.4f, -2 * 0.4f, 0.4f));
  EXPECT_THAT(Linear({identity}, Rows::kTokens, 1).Run()->floats, ElementsAre(1, 10, -1, 0));
  EXPECT_THAT(Linear({identity}, Rows::kTokens, 0.0625).Run()->floats,
              ElementsAre(1, 127 * 0.0625f, -1, 0.5f));
  for (const double bad : {-1.0, 1e-40, 1e40, std::nan("")}) {
    EXPECT_THAT(Linear({identity}, Rows::kTokens, bad).Refusal(), testing::HasSubstr("scale"));
  }
}

// 2^24 + 1 is not a float: a sum in float32 would lose every one of the ones.
TEST(Linear, AccumulatesInDouble) {
  std::vector<float> ones(1025, 1.0f);
  ones[0] = 0x1p24f;
  const OpCall call{.op = OpKind::kLinear,
                    .inputs = {Floats(1025, ones)},
                    .weights = {Tensor::FromFloats({1, 1025}, std::vector<float>(1025, 1.0f))},
                    .attrs = LinearAttrs{}};
  EXPECT_THAT(call.Run()->floats, ElementsAre(0x1p24f + 1024));
}

TEST(Linear, CostsOneProductPerWeightAndRow) {
  const Workload workload{.tokens = 128, .sequences = 4};
  EXPECT_EQ(Linear({Matrix()}).CostAt(workload).macs, 6 * 128);
  EXPECT_EQ(Linear({Matrix()}, Rows::kSequences).CostAt(workload).macs, 6 * 4);
  EXPECT_EQ(Linear({Matrix(), Vector({1, 2, 3})}).CostAt(workload).weight_bytes, 36);
}

TEST(Linear, RefusesWeightsThatDoNotFit) {
  EXPECT_EQ(Linear({}).Refusal(), "takes 1 to 2 weights, has 0");
  EXPECT_EQ(Linear({Matrix(), Vector({1, 2, 3}), Vector({1})}).Refusal(),
            "takes 1 to 2 weights, has 3");
  EXPECT_EQ(Linear({Tensor::FromFloats({2, 3}, std::vector<float>(6))}).Refusal(),
            "its weight is [2, 3], its input has width 2");
  EXPECT_EQ(Linear({Matrix(), Vector({1, 2})}).Refusal(),
            "weight 1 is [2] f32, must be floats [3]");
  EXPECT_EQ(Linear({Matrix(), Tensor::FromFloats({1, 3}, std::vector<float>(3))}).Refusal(),
            "weight 1 is [1, 3] f32, must be floats [3]");
  const int32_t ints[] = {1, 2, 3};
  EXPECT_EQ(
      Linear({Matrix(), Tensor::Copy(DType::kI32, {3}, std::as_bytes(std::span(ints)))}).Refusal(),
      "weight 1 is [3] i32, must be floats [3]");
  OpCall ids = Linear({Matrix()});
  ids.inputs = {Ids({1})};
  EXPECT_EQ(ids.Refusal(), "takes numbers, not ids");
}

}  // namespace
}  // namespace thimble
