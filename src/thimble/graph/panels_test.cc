#include "thimble/graph/panels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "thimble/graph/int4.h"

namespace thimble {
namespace {

// Bytes 1, 2, 3, ...: none is zero, so that padding shows, none is the top byte of a NaN.
Tensor Counting(DType dtype, int64_t outputs, int64_t inputs) {
  std::vector<uint8_t> bytes(*RowMajorBytes(dtype, {outputs, inputs}));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i % 119 + 1);
  if (dtype == DType::kI4Group &&
      inputs % 2 != 0) {  // there is nothing behind the last input of a row
    const size_t row = bytes.size() / static_cast<size_t>(outputs);
    for (size_t end = row; end <= bytes.size(); end += row) bytes[end - 1] &= 0x0F;
  }
  const Tensor tensor = Tensor::Copy(dtype, {outputs, inputs}, std::as_bytes(std::span(bytes)));
  if (!HasGroupScales(dtype)) return tensor;
  auto scales = std::make_shared<std::vector<float>>(
      *ScaleCount(dtype, tensor.shape(), tensor.layout(), kScaleGroups[0]));
  std::iota(scales->begin(), scales->end(), 1.0f);
  const std::span<const float> view(*scales);
  return tensor.WithScales(view, std::move(scales), kScaleGroups[0]);
}

TEST(Panels, ComeBackAsTheyWereForEverySizeAndType) {
  for (const DType dtype :
       {DType::kF32, DType::kF16, DType::kI8, DType::kI8Group, DType::kI4Group}) {
    for (const int64_t outputs : {1, 2, 15, 16, 17, 31, 32, 33, 100}) {
      for (const int64_t inputs : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65}) {
        SCOPED_TRACE(std::string(DTypeName(dtype)) + " " + ShapeText({outputs, inputs}));
        const Tensor weight = Counting(dtype, outputs, inputs);
        const Tensor packed = PackPanels(weight);
        EXPECT_EQ(packed.layout(), Layout::kPanels);
        EXPECT_EQ(packed.shape(), weight.shape());
        EXPECT_EQ(packed.elements(), weight.elements());
        EXPECT_EQ(packed.data().size(),
                  PanelsBytes(dtype, static_cast<size_t>(outputs), static_cast<size_t>(inputs)));
        EXPECT_EQ(packed.ToFloats(), weight.ToFloats());
        const Tensor back = UnpackPanels(packed);
        ASSERT_EQ(back.data().size(), weight.data().size());
        EXPECT_EQ(std::memcmp(back.data().data(), weight.data().data(), back.data().size()), 0);
        EXPECT_THAT(back.scales(), testing::ElementsAreArray(weight.scales()));
      }
    }
  }
}

// The header's picture, element by element: panel[k][n].
TEST(Panels, OfFloatsHaveInputsOutermost) {
  constexpr size_t kOutputs = 18, kInputs = 3;
  std::vector<float> values(kOutputs * kInputs);
  std::iota(values.begin(), values.end(), 1.0f);
  const Tensor packed = PackPanels(Tensor::FromFloats({kOutputs, kInputs}, values));
  std::vector<float> lanes(packed.data().size() / sizeof(float));
  std::memcpy(lanes.data(), packed.data().data(), packed.data().size());
  ASSERT_EQ(lanes.size(), 2 * kInputs * kPanelWidth);
  for (size_t panel = 0; panel < 2; ++panel) {
    for (size_t k = 0; k < kInputs; ++k) {
      for (size_t n = 0; n < kPanelWidth; ++n) {
        const size_t output = panel * kPanelWidth + n;
        const float want = output < kOutputs ? values[output * kInputs + k] : 0.0f;
        ASSERT_EQ(lanes[(panel * kInputs + k) * kPanelWidth + n], want) << output << ", " << k;
      }
    }
  }
}

// panel[k / 4][n][k % 4]
TEST(Panels, OfInt8KeepFourInputsTogether) {
  constexpr size_t kOutputs = 17, kInputs = 6;
  const Tensor weight = Counting(DType::kI8, kOutputs, kInputs);
  const Tensor packed = PackPanels(weight);
  ASSERT_EQ(packed.data().size(), 2u * 2 * 64);
  for (size_t output = 0; output < 2 * kPanelWidth; ++output) {
    for (size_t k = 0; k < 8; ++k) {
      const std::byte want =
          output < kOutputs && k < kInputs ? weight.data()[output * kInputs + k] : std::byte{0};
      const size_t at = ((output / 16 * 2 + k / 4) * 16 + output % 16) * 4 + k % 4;
      ASSERT_EQ(packed.data()[at], want) << output << ", " << k;
    }
  }
}

// panel[k / 8][n][k % 8], scales[group][n].
TEST(Panels, OfInt4KeepEightInputsTogether) {
  constexpr size_t kOutputs = 17, kInputs = 18, kGroups = 2;
  const Tensor weight = Counting(DType::kI4Group, kOutputs, kInputs);
  const Tensor packed = PackPanels(weight);
  ASSERT_EQ(packed.data().size(), 2u * 3 * 64);
  ASSERT_EQ(packed.scales().size(), 2u * kGroups * 16);
  for (size_t output = 0; output < 2 * kPanelWidth; ++output) {
    for (size_t k = 0; k < 24; ++k) {
      const std::byte* row = weight.data().data() + output * 9;
      const int want = output < kOutputs && k < kInputs ? LoadInt4(row, k) : 0;
      const size_t at = ((output / 16 * 3 + k / 8) * 16 + output % 16) * 8 + k % 8;
      ASSERT_EQ(LoadInt4(packed.data().data(), at), want) << output << ", " << k;
    }
    for (size_t g = 0; g < kGroups; ++g) {
      const float want = output < kOutputs ? weight.scales()[output * kGroups + g] : 0;
      ASSERT_EQ(packed.scales()[(output / 16 * kGroups + g) * 16 + output % 16], want);
    }
  }
}

TEST(Panels, AreAlignedAndFollowedByReadableZeros) {
  const Tensor packed = PackPanels(Counting(DType::kF16, 5, 7));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(packed.data().data()) % kPanelAlignment, 0u);
  const std::byte* end = packed.data().data() + packed.data().size();
  for (size_t i = 0; i < kPanelGuardBytes; ++i) ASSERT_EQ(end[i], std::byte{0}) << i;
}

TEST(Panels, KeepScalesAndPadThemToWholePanels) {
  std::vector<float> scales(17);
  std::iota(scales.begin(), scales.end(), 1.0f);
  const Tensor weight = Counting(DType::kI8, 17, 5).WithScales(scales, nullptr);
  const Tensor packed = PackPanels(weight);
  EXPECT_THAT(packed.scales(), testing::ElementsAreArray(scales));
  EXPECT_NE(packed.scales().data(), scales.data());
  for (size_t i = 17; i < 32; ++i) EXPECT_EQ(packed.scales().data()[i], 0.0f) << i;
  EXPECT_EQ(packed.ToFloats(), weight.ToFloats());
  EXPECT_THAT(UnpackPanels(packed).scales(), testing::ElementsAreArray(scales));
}

}  // namespace
}  // namespace thimble
