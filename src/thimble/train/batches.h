// How the examples of an epoch fall into batches. A pure function of its arguments: resuming needs no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace thimble::train {

struct BatchOptions {
  size_t examples = 32;  // at most so many per batch; 0: no limit
  size_t tokens = 0;     // at most so many tokens, but at least one example; 0: no limit
  // Examples of like length meet in a batch, for devices that pad: lengths are sorted within windows of this
  // many batches and the batches shuffled; 0: plain shuffling.
  size_t bucket_batches = 0;
  uint64_t seed = 1;
};

// Indices into `lengths`, every one once.
std::vector<std::vector<uint32_t>> EpochBatches(std::span<const uint32_t> lengths, int64_t epoch,
                                                const BatchOptions& options);

// Cuts a batch into `shards` parts of about the same number of tokens; parts may be empty.
std::vector<std::vector<uint32_t>> SplitBatch(std::span<const uint32_t> batch,
                                              std::span<const uint32_t> lengths, size_t shards);

}  // namespace thimble::train
