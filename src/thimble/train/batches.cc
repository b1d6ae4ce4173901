#include "thimble/train/batches.h"

#include <algorithm>
#include <numeric>

#include "thimble/base/random.h"

namespace thimble::train {
namespace {

// Cuts an order into batches, each as full as the limits allow.
std::vector<std::vector<uint32_t>> Cut(std::span<const uint32_t> order,
                                       std::span<const uint32_t> lengths,
                                       const BatchOptions& options) {
  std::vector<std::vector<uint32_t>> batches;
  size_t tokens = 0;
  for (const uint32_t index : order) {
    const bool full = batches.empty() ||
                      (options.examples > 0 && batches.back().size() >= options.examples) ||
                      (options.tokens > 0 && tokens + lengths[index] > options.tokens);
    if (full) batches.emplace_back(), tokens = 0;
    batches.back().push_back(index);
    tokens += lengths[index];
  }
  return batches;
}

}  // namespace

std::vector<std::vector<uint32_t>> EpochBatches(std::span<const uint32_t> lengths, int64_t epoch,
                                                const BatchOptions& options) {
  std::vector<uint32_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0u);
  Random random(options.seed, static_cast<uint64_t>(epoch) + 1);
  random.Shuffle(std::span(order));
  if (options.bucket_batches == 0) return Cut(order, lengths, options);

  size_t per_batch = options.examples;
  if (options.tokens > 0 && !lengths.empty()) {
    const size_t total = std::accumulate(lengths.begin(), lengths.end(), size_t{0});
    const size_t fit =
        std::max<size_t>(1, options.tokens * lengths.size() / std::max<size_t>(total, 1));
    per_batch = per_batch == 0 ? fit : std::min(per_batch, fit);
  }
  const size_t window = std::max<size_t>(1, per_batch * options.bucket_batches);
  for (size_t begin = 0; begin < order.size(); begin += window) {
    const auto first = order.begin() + static_cast<int64_t>(begin);
    const auto last = order.begin() + static_cast<int64_t>(std::min(begin + window, order.size()));
    std::stable_sort(first, last, [&](uint32_t a, uint32_t b) { return lengths[a] > lengths[b]; });
  }
  std::vector<std::vector<uint32_t>> batches = Cut(order, lengths, options);
  random.Shuffle(std::span(batches));
  return batches;
}

std::vector<std::vector<uint32_t>> SplitBatch(std::span<const uint32_t> batch,
                                              std::span<const uint32_t> lengths, size_t shards) {
  std::vector<std::vector<uint32_t>> parts(shards);
  if (shards == 1) {
    parts[0].assign(batch.begin(), batch.end());
    return parts;
  }
  // Longest first, each to the shard that has least so far.
  std::vector<uint32_t> order(batch.begin(), batch.end());
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return lengths[a] > lengths[b]; });
  std::vector<size_t> tokens(shards, 0);
  for (const uint32_t index : order) {
    const auto least =
        static_cast<size_t>(std::min_element(tokens.begin(), tokens.end()) - tokens.begin());
    parts[least].push_back(index);
    tokens[least] += lengths[index];
  }
  return parts;
}

}  // namespace thimble::train
