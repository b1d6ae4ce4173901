#include "thimble/train/batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace thimble::train {
namespace {

std::vector<uint32_t> Lengths(size_t n) {
  std::vector<uint32_t> lengths;
  for (size_t i = 0; i < n; ++i) lengths.push_back(static_cast<uint32_t>(3 + (i * 7) % 50));
  return lengths;
}

std::vector<uint32_t> Flat(const std::vector<std::vector<uint32_t>>& batches) {
  std::vector<uint32_t> all;
  for (const auto& batch : batches) all.insert(all.end(), batch.begin(), batch.end());
  return all;
}

TEST(EpochBatches, HoldEveryExampleOnce) {
  const auto lengths = Lengths(101);
  for (const BatchOptions& options :
       {BatchOptions{.examples = 8}, BatchOptions{.examples = 0, .tokens = 200},
        BatchOptions{.examples = 16, .tokens = 300, .bucket_batches = 4}}) {
    std::vector<uint32_t> all = Flat(EpochBatches(lengths, 2, options));
    std::sort(all.begin(), all.end());
    std::vector<uint32_t> want(lengths.size());
    std::iota(want.begin(), want.end(), 0u);
    EXPECT_EQ(all, want);
  }
}

TEST(EpochBatches, KeepTheirLimits) {
  const auto lengths = Lengths(101);
  for (const auto& batch : EpochBatches(lengths, 0, {.examples = 6, .tokens = 120})) {
    size_t tokens = 0;
    for (const uint32_t i : batch) tokens += lengths[i];
    EXPECT_LE(batch.size(), 6u);
    EXPECT_LE(tokens, 120u);
  }
}

TEST(EpochBatches, TakeAnExampleThatIsLongerThanTheLimitAlone) {
  const std::vector<uint32_t> lengths{500, 3, 3};
  size_t seen = 0;
  for (const auto& batch : EpochBatches(lengths, 0, {.examples = 0, .tokens = 10})) {
    if (std::count(batch.begin(), batch.end(), 0u) > 0) {
      EXPECT_EQ(batch.size(), 1u);
    }
    seen += batch.size();
  }
  EXPECT_EQ(seen, 3u);
}

TEST(EpochBatches, DifferByEpochAndSeedOnly) {
  const auto lengths = Lengths(64);
  const BatchOptions options{.examples = 8, .seed = 3};
  EXPECT_EQ(EpochBatches(lengths, 1, options), EpochBatches(lengths, 1, options));
  EXPECT_NE(EpochBatches(lengths, 1, options), EpochBatches(lengths, 2, options));
  EXPECT_NE(EpochBatches(lengths, 1, options),
            EpochBatches(lengths, 1, {.examples = 8, .seed = 4}));
}

TEST(EpochBatches, PutLikeLengthsTogetherInBuckets) {
  const auto lengths = Lengths(400);
  const auto padding = [&](const BatchOptions& options) {
    size_t padded = 0;
    for (const auto& batch : EpochBatches(lengths, 0, options)) {
      size_t longest = 0;
      for (const uint32_t i : batch) longest = std::max<size_t>(longest, lengths[i]);
      for (const uint32_t i : batch) padded += longest - lengths[i];
    }
    return padded;
  };
  EXPECT_LT(padding({.examples = 16, .bucket_batches = 10}), padding({.examples = 16}) / 4);
}

TEST(SplitBatch, BalancesTokens) {
  const auto lengths = Lengths(64);
  std::vector<uint32_t> batch(64);
  std::iota(batch.begin(), batch.end(), 0u);
  const auto parts = SplitBatch(batch, lengths, 3);
  ASSERT_EQ(parts.size(), 3u);
  std::vector<size_t> tokens;
  for (const auto& part : parts) {
    size_t sum = 0;
    for (const uint32_t i : part) sum += lengths[i];
    tokens.push_back(sum);
  }
  // Longest first leaves no shard more than the shortest example behind another.
  EXPECT_LE(*std::max_element(tokens.begin(), tokens.end()) -
                *std::min_element(tokens.begin(), tokens.end()),
            3u + 4u);
  EXPECT_EQ(Flat(parts).size(), batch.size());
}

TEST(SplitBatch, LeavesShardsEmptyWhereThereIsTooLittle) {
  const std::vector<uint32_t> lengths{5, 6}, batch{0, 1};
  const auto parts = SplitBatch(batch, lengths, 4);
  EXPECT_EQ(std::count_if(parts.begin(), parts.end(), [](const auto& p) { return p.empty(); }), 2);
}

}  // namespace
}  // namespace thimble::train
