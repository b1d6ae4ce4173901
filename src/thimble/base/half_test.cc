#include "thimble/base/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace thimble {
namespace {

TEST(Half, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t h = 0; h <= 0xFFFF; ++h) {
    const auto half = static_cast<uint16_t>(h);
    const float f = HalfToFloat(half);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(f)))) << h;
    } else {
      ASSERT_EQ(FloatToHalf(f), half) << h;
    }
  }
}

TEST(Half, RoundsToTheNearestAndTiesToEven) {
  // Between every pair of neighbours: just below, at and just above the midpoint.
  for (uint32_t h = 0; h < 0x7BFF; ++h) {
    const auto low = static_cast<uint16_t>(h);
    const auto high = static_cast<uint16_t>(h + 1);
    const float mid = 0.5f * (HalfToFloat(low) + HalfToFloat(high));
    ASSERT_EQ(FloatToHalf(std::nextafter(mid, 0.0f)), low) << h;
    ASSERT_EQ(FloatToHalf(mid), (h & 1) != 0 ? high : low) << h;
    ASSERT_EQ(FloatToHalf(std::nextafter(mid, 1e9f)), high) << h;
  }
  EXPECT_EQ(FloatToHalf(65519.996f), 0x7BFF);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7C00);
  EXPECT_EQ(FloatToHalf(-std::numeric_limits<float>::infinity()), 0xFC00);
  EXPECT_EQ(FloatToHalf(0x1p-25f), 0);
  EXPECT_EQ(FloatToHalf(-0.0f), 0x8000);
}

TEST(BFloat16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t h = 0; h <= 0xFFFF; ++h) {
    const auto bf16 = static_cast<uint16_t>(h);
    const float f = BFloat16ToFloat(bf16);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(BFloat16ToFloat(FloatToBFloat16(f)))) << h;
    } else {
      ASSERT_EQ(FloatToBFloat16(f), bf16) << h;
    }
  }
}

TEST(BFloat16, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F808000u)), 0x3F80);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F818000u)), 0x3F82);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F808001u)), 0x3F81);
}

}  // namespace
}  // namespace thimble
