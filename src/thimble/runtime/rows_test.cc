#include "thimble/runtime/rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "thimble/base/half.h"
#include "thimble/graph/int4.h"

namespace thimble {
namespace {

using testing::ElementsAre;

TEST(Rows, LooksUpEveryTableType) {
  const std::vector<float> table = {1, 2, 3, 4, 5, 6};
  std::vector<uint16_t> halves;
  for (const float v : table) halves.push_back(FloatToHalf(v));
  const std::vector<int8_t> q = {2, 4, 127, -127, 10, 12};
  const std::vector<float> scales = {0.5f, 1.0f, 2.0f};
  const std::vector<int32_t> ids = {2, 0};
  std::vector<float> y(6, -1);
  EmbedRows(Tensor::FromFloats({3, 2}, table), ids, y.data(), 3);
  EXPECT_THAT(y, ElementsAre(5, 6, -1, 1, 2, -1));
  EmbedRows(Tensor::Copy(DType::kF16, {3, 2}, std::as_bytes(std::span(halves))), ids, y.data(), 3);
  EXPECT_THAT(y, ElementsAre(5, 6, -1, 1, 2, -1));
  EmbedRows(
      Tensor::Copy(DType::kI8, {3, 2}, std::as_bytes(std::span(q))).WithScales(scales, nullptr),
      ids, y.data(), 3);
  EXPECT_THAT(y, ElementsAre(20, 24, -1, 1, 2, -1));
  EmbedRows(Tensor::Copy(DType::kI8Group, {3, 2}, std::as_bytes(std::span(q)))
                .WithScales(scales, nullptr, 32),
            ids, y.data(), 3);
  EXPECT_THAT(y, ElementsAre(20, 24, -1, 1, 2, -1));
}

// Two groups, the second of one code.
TEST(Rows, LooksUpFourBitRowsByGroup) {
  std::vector<std::byte> codes(2 * 9);
  for (size_t i = 0; i < 17; ++i) StoreInt4(codes.data() + 9, i, static_cast<int8_t>(i % 8) - 4);
  const std::vector<float> scales = {9, 9, 0.5f, 2};
  const Tensor table =
      Tensor::Copy(DType::kI4Group, {2, 17}, codes).WithScales(scales, nullptr, 16);
  const std::vector<int32_t> ids = {1, 0, 1};
  std::vector<float> y(3 * 18, -1);
  EmbedRows(table, ids, y.data(), 18);
  for (size_t i = 0; i < 17; ++i) {
    const float want = (i < 16 ? 0.5f : 2.0f) * (static_cast<float>(i % 8) - 4);
    EXPECT_EQ(y[i], want) << i;
    EXPECT_EQ(y[18 + i], 0.0f) << i;
    EXPECT_EQ(y[36 + i], want) << i;
  }
  EXPECT_EQ(y[17], -1);
}

TEST(Rows, TrigramStopsAtTheEndsOfASequence) {
  const std::vector<float> x = {1, 2, 3, 4};
  const std::vector<int32_t> offsets = {0, 3, 4};
  const PackedBatch batch{offsets, {}};
  std::vector<float> y(12, -1);
  TrigramRows(x.data(), 1, 1, batch, 0, 4, y.data(), 3);
  EXPECT_THAT(y, ElementsAre(2, 1, 0, 3, 2, 1, 0, 3, 2, 0, 4, 0));
  std::vector<float> part(6, -1);  // a block that starts inside the first sequence
  TrigramRows(x.data(), 1, 1, batch, 2, 2, part.data(), 3);
  EXPECT_THAT(part, ElementsAre(0, 3, 2, 0, 4, 0));
}

TEST(Rows, PoolsByFirstTokenAndByMean) {
  const std::vector<float> x = {1, 10, 2, 20, 3, 30, 4, 40};
  const std::vector<int32_t> offsets = {0, 3, 4};
  const std::vector<uint8_t> mask = {1, 0, 1, 0};
  const PackedBatch batch{offsets, mask};
  std::vector<float> y(4);
  PoolFirstRows(x.data(), 2, 2, batch, 0, 2, y.data(), 2);
  EXPECT_THAT(y, ElementsAre(1, 10, 4, 40));
  PoolMeanRows(x.data(), 2, 2, batch, 0, 2, y.data(), 2);
  EXPECT_THAT(y, ElementsAre(2, 20, 0, 0));
  PoolMeanRows(x.data(), 2, 2, {offsets, {}}, 1, 1, y.data(), 2);
  EXPECT_THAT(y, ElementsAre(4, 40, 0, 0));
}

TEST(Rows, NormalizesToUnitLength) {
  const std::vector<float> x = {3, 4, 0, 0, 1e-30f, 0};
  std::vector<float> y(6);
  L2NormalizeRows(x.data(), 2, 2, 3, y.data(), 2);
  EXPECT_THAT(y, ElementsAre(0.6f, 0.8f, 0, 0, 1, 0));
}

}  // namespace
}  // namespace thimble
