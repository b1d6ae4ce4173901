#include "thimble/graph/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "thimble/base/half.h"
#include "thimble/graph/int4.h"
#include "thimble/graph/panels.h"

namespace thimble {
namespace {

using testing::ElementsAre;

template <class T>
Tensor TensorOf(DType dtype, Shape shape, const std::vector<T>& values) {
  return Tensor::Copy(dtype, std::move(shape), std::as_bytes(std::span(values)));
}

TEST(DType, HasOneNameAndSize) {
  for (const auto& [dtype, name, bits] : {std::tuple{DType::kF32, "f32", 32},
                                          {DType::kF16, "f16", 16},
                                          {DType::kBF16, "bf16", 16},
                                          {DType::kI8, "i8", 8},
                                          {DType::kU8, "u8", 8},
                                          {DType::kI32, "i32", 32},
                                          {DType::kI64, "i64", 64},
                                          {DType::kI8Group, "i8g", 8},
                                          {DType::kI4Group, "i4g", 4}}) {
    EXPECT_EQ(DTypeName(dtype), name);
    EXPECT_EQ(DTypeBits(dtype), static_cast<size_t>(bits));
    EXPECT_EQ(DTypeFromName(name), dtype);
  }
  EXPECT_EQ(DTypeFromName("f64"), std::nullopt);
}

TEST(Shape, PrintsAndCounts) {
  EXPECT_EQ(ShapeText({768, 3072}), "[768, 3072]");
  EXPECT_EQ(ShapeText({}), "[]");
  EXPECT_EQ(ElementCount({}), 1u);
  EXPECT_EQ(ElementCount({3, 0, 5}), 0u);
  EXPECT_EQ(ElementCount({3, 4, 5}), 60u);
}

TEST(Shape, DoesNotCountWhatNoMemoryHolds) {
  constexpr int64_t kLarge = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(ElementCount({-1, 4}), std::nullopt);
  EXPECT_EQ(ElementCount({kLarge, kLarge}), std::nullopt);
  EXPECT_EQ(ElementCount({int64_t{1} << 32, int64_t{1} << 32}), std::nullopt);
  EXPECT_EQ(ElementCount({int64_t{1} << 32, (int64_t{1} << 32) - 1}), size_t{0xFFFFFFFF} << 32);
  EXPECT_EQ(ElementCount({kLarge, 0}), 0u);
}

TEST(Tensor, CopiesAreAlignedAndIndependent) {
  std::vector<float> values = {1, 2, 3};
  const Tensor t = Tensor::FromFloats({3}, values);
  values[0] = 9;
  EXPECT_THAT(t.floats(), ElementsAre(1, 2, 3));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(t.data().data()) % kPanelAlignment, 0u);
  EXPECT_EQ(t.rank(), 1u);
  EXPECT_EQ(t.elements(), 3u);
  EXPECT_EQ(t.bytes(), 12u);
}

TEST(Tensor, HoldsScalarsAndNothing) {
  const Tensor scalar = Tensor::Scalar(2.5f);
  EXPECT_EQ(scalar.rank(), 0u);
  EXPECT_THAT(scalar.ToFloats(), ElementsAre(2.5f));
  EXPECT_EQ(Tensor().elements(), 0u);
  EXPECT_TRUE(Tensor::FromFloats({0, 7}, {}).ToFloats().empty());
}

TEST(Tensor, ViewsKeepTheirOwnerAlive) {
  auto storage = std::make_shared<std::vector<float>>(std::vector<float>{1, 2});
  const std::weak_ptr<std::vector<float>> watch = storage;
  Tensor copy;
  {
    const std::span<const float> values(*storage);
    const Tensor view = Tensor::View(DType::kF32, {2}, std::as_bytes(values), std::move(storage));
    copy = view;
  }
  EXPECT_FALSE(watch.expired());
  EXPECT_THAT(copy.floats(), ElementsAre(1, 2));
  copy = Tensor();
  EXPECT_TRUE(watch.expired());
}

// Checkpoints give no alignment.
TEST(Tensor, ReadsViewsAtAnyAddress) {
  const float values[] = {1.5f, -2.5f};
  std::vector<std::byte> bytes(sizeof values + 1);
  std::memcpy(bytes.data() + 1, values, sizeof values);
  const Tensor view =
      Tensor::View(DType::kF32, {2}, std::span(bytes).subspan(1), /*owner=*/nullptr);
  EXPECT_THAT(view.ToFloats(), ElementsAre(1.5f, -2.5f));
}

TEST(Tensor, WidensEveryType) {
  const uint16_t one = FloatToHalf(1.0f), big = FloatToBFloat16(0x1p100f);
  EXPECT_THAT(TensorOf<uint16_t>(DType::kF16, {2}, {one, 0x8000}).ToFloats(),
              ElementsAre(1, -0.0f));
  EXPECT_THAT(TensorOf<uint16_t>(DType::kBF16, {1}, {big}).ToFloats(), ElementsAre(0x1p100f));
  EXPECT_THAT(TensorOf<int8_t>(DType::kI8, {2}, {-127, 127}).ToFloats(), ElementsAre(-127, 127));
  EXPECT_THAT(TensorOf<uint8_t>(DType::kU8, {1}, {255}).ToFloats(), ElementsAre(255));
  EXPECT_THAT(TensorOf<int32_t>(DType::kI32, {1}, {-70000}).ToFloats(), ElementsAre(-70000));
  EXPECT_THAT(TensorOf<int64_t>(DType::kI64, {1}, {int64_t{1} << 40}).ToFloats(),
              ElementsAre(0x1p40f));
}

TEST(Tensor, DequantizesByRow) {
  const float scales[] = {0.5f, 2.0f};
  const Tensor t =
      TensorOf<int8_t>(DType::kI8, {2, 3}, {1, 2, 3, -4, -5, 127}).WithScales(scales, nullptr);
  EXPECT_THAT(t.ToFloats(), ElementsAre(0.5f, 1, 1.5f, -8, -10, 254));
  EXPECT_EQ(t.bytes(), 6u + 8u);
  EXPECT_THAT(t.scales(), ElementsAre(0.5f, 2.0f));
}

// Two rows of 17: a group and a rest of one, nine bytes a row.
TEST(Tensor, DequantizesByGroup) {
  std::vector<std::byte> codes(2 * 9);
  for (size_t i = 0; i < 17; ++i) StoreInt4(codes.data(), i, static_cast<int8_t>(i % 15) - 7);
  StoreInt4(codes.data() + 9, 16, -3);
  const float scales[] = {0.5f, 2.0f, 3.0f, 4.0f};
  const Tensor t = Tensor::Copy(DType::kI4Group, {2, 17}, codes).WithScales(scales, nullptr, 16);
  const std::vector<float> values = t.ToFloats();
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(values[i], 0.5f * (static_cast<float>(i % 15) - 7)) << i;
    EXPECT_EQ(values[17 + i], 0.0f) << i;
  }
  EXPECT_EQ(values[16], 2.0f * -6);
  EXPECT_EQ(values[33], 4.0f * -3);
  EXPECT_EQ(t.bytes(), 18u + 16u);
}

TEST(Int4, LeavesItsNeighbourAlone) {
  for (int a = -8; a <= 7; ++a) {
    for (int b = -8; b <= 7; ++b) {
      std::byte byte{0xA5};
      StoreInt4(&byte, 0, static_cast<int8_t>(a));
      StoreInt4(&byte, 1, static_cast<int8_t>(b));
      StoreInt4(&byte, 0, static_cast<int8_t>(a));
      EXPECT_EQ(LoadInt4(&byte, 0), a);
      EXPECT_EQ(LoadInt4(&byte, 1), b);
    }
  }
}

TEST(Shape, OfFourBitsHasRowsOfWholeBytes) {
  EXPECT_EQ(RowMajorBytes(DType::kI4Group, {3, 5}), 9u);
  EXPECT_EQ(RowMajorBytes(DType::kI4Group, {3, -5}), std::nullopt);
  EXPECT_EQ(RowMajorBytes(DType::kI4Group, {}), std::nullopt);
  EXPECT_EQ(RowMajorBytes(DType::kF32, {3, 5}), 60u);
  EXPECT_EQ(RowMajorBytes(DType::kF32, {int64_t{1} << 62, 2}), std::nullopt);
}

TEST(Tensor, IsTheSameOnlyAsWhatSharesItsStorage) {
  const std::vector<float> values = {1, 2, 3, 4};
  const Tensor a = Tensor::FromFloats({2, 2}, values);
  const Tensor copy = a;
  EXPECT_TRUE(a.SameAs(copy));
  EXPECT_FALSE(a.SameAs(Tensor::FromFloats({2, 2}, values)));
  EXPECT_FALSE(a.SameAs(Tensor::View(DType::kF32, {4}, a.data(), nullptr)));
  EXPECT_FALSE(a.SameAs(Tensor::View(DType::kI32, {2, 2}, a.data(), nullptr)));
}

TEST(TensorDeathTest, RefusesBytesOfAnotherSize) {
  const std::byte bytes[7] = {};
  EXPECT_DEATH((void)Tensor::View(DType::kF32, {2}, bytes, nullptr), "does not hold");
  EXPECT_DEATH((void)Tensor::View(DType::kF32, {-1}, {}, nullptr), "does not hold");
  EXPECT_DEATH((void)Tensor::FromFloats({1, 1}, std::vector<float>{1}).WithScales({}, nullptr),
               "does not hold");
}

}  // namespace
}  // namespace thimble
