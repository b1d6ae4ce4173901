#include "thimble/formats/tensors/stored_tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thimble {
namespace {

using ::testing::ElementsAre;

template <class T>
StoredTensor Stored(StoredType type, Shape shape, std::span<const T> values,
                    std::vector<int64_t> strides = {}) {
  return {.type = type,
          .shape = std::move(shape),
          .strides = std::move(strides),
          .data = std::as_bytes(values),
          .owner = nullptr};
}

constexpr float kSix[] = {0, 1, 2, 3, 4, 5};
const std::span<const float> kSixSpan(kSix);

TEST(StoredTensor, RowMajorIsAView) {
  const StoredTensor stored = Stored(StoredType::kF32, {2, 3}, kSixSpan, {3, 1});
  EXPECT_EQ(BytesToLoad(stored), 0u);
  const Result<Tensor> tensor = Load(stored);
  ASSERT_TRUE(tensor);
  EXPECT_EQ(static_cast<const void*>(tensor->data().data()), kSix);
}

TEST(StoredTensor, StrideOfADimensionOfOneDoesNotMatter) {
  EXPECT_EQ(BytesToLoad(Stored(StoredType::kF32, {1, 6}, kSixSpan, {99, 1})), 0u);
}

TEST(StoredTensor, TransposedIsGathered) {
  const StoredTensor stored = Stored(StoredType::kF32, {3, 2}, kSixSpan, {1, 3});
  EXPECT_EQ(BytesToLoad(stored), sizeof kSix);
  const Result<Tensor> tensor = Load(stored);
  ASSERT_TRUE(tensor);
  EXPECT_THAT(tensor->ToFloats(), ElementsAre(0, 3, 1, 4, 2, 5));
}

TEST(StoredTensor, ExpandedAndSlicedAreGathered) {
  const Result<Tensor> expanded = Load(Stored(StoredType::kF32, {2, 2}, kSixSpan, {0, 1}));
  ASSERT_TRUE(expanded);
  EXPECT_THAT(expanded->ToFloats(), ElementsAre(0, 1, 0, 1));
  const Result<Tensor> sliced = Load(Stored(StoredType::kF32, {2, 1, 2}, kSixSpan, {3, 7, 2}));
  ASSERT_TRUE(sliced);
  EXPECT_THAT(sliced->ToFloats(), ElementsAre(0, 2, 3, 5));
}

TEST(StoredTensor, MisalignedIsCopied) {
  alignas(4) std::byte bytes[9] = {};
  bytes[4] = std::byte{0x3f};  // 0.5 in the four bytes from 1
  const StoredTensor stored{.type = StoredType::kF32,
                            .shape = {2},
                            .strides = {},
                            .data = std::span<const std::byte>(bytes).subspan(1),
                            .owner = nullptr};
  EXPECT_EQ(BytesToLoad(stored), 8u);
  const Result<Tensor> tensor = Load(stored);
  ASSERT_TRUE(tensor);
  EXPECT_THAT(tensor->floats(), ElementsAre(0.5, 0));
}

TEST(StoredTensor, DoublePrecisionIsRounded) {
  const double values[] = {0.1, -2, 1e300};
  const Result<Tensor> tensor =
      Load(Stored(StoredType::kF64, {3}, std::span<const double>(values)));
  ASSERT_TRUE(tensor);
  EXPECT_EQ(tensor->dtype(), DType::kF32);
  EXPECT_THAT(tensor->ToFloats(), ElementsAre(0.1f, -2.0f, INFINITY));
}

TEST(StoredTensor, EmptyAndScalar) {
  const Result<Tensor> empty = Load(Stored(StoredType::kF32, {0, 4}, kSixSpan.first(0), {1, 1}));
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->ToFloats().empty());
  const Result<Tensor> scalar = Load(Stored(StoredType::kF32, {}, kSixSpan.subspan(4, 1)));
  ASSERT_TRUE(scalar);
  EXPECT_THAT(scalar->ToFloats(), ElementsAre(4));
}

TEST(StoredTensor, TypesWithoutAUseAreNamed) {
  const uint16_t values[] = {1, 2};
  const Result<Tensor> tensor =
      Load(Stored(StoredType::kU16, {2}, std::span<const uint16_t>(values)));
  ASSERT_FALSE(tensor);
  EXPECT_EQ(tensor.error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(tensor.error().message(), "elements of type U16 are not read");
}

TEST(StoredTensor, NamesFindTheirTypes) {
  EXPECT_EQ(StoredTypeFromName("BF16"), StoredType::kBF16);
  EXPECT_EQ(StoredTypeFromName("f32"), std::nullopt);
  EXPECT_EQ(StoredTypeFromTorchStorage("LongStorage"), StoredType::kI64);
  EXPECT_EQ(StoredTypeFromTorchStorage(""), std::nullopt);
}

}  // namespace
}  // namespace thimble
