// What the processes of one training run do together. One process is the common case and costs nothing.
//
// All ranks call the same functions in the same order, with arrays of the same size. A function that needs a rank
// which is gone fails on the others, with one line that names it.
// Not thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "thimble/base/result.h"
#include "thimble/train/torch.h"

namespace thimble::train {

class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Element by element over all ranks, in place; the same bits on every rank. Ranks are added as PairwiseOrder
  // says, so that N ranks of one shard each give what one process gives that adds N shards.
  virtual Status Sum(at::Tensor& values) = 0;
  virtual Status Sum(std::span<double> values) = 0;
  // What rank 0 has, to all.
  virtual Status Broadcast(std::span<std::byte> bytes) = 0;
  // Returns when all ranks are here, however long the slowest takes.
  virtual Status Barrier() = 0;
};

// A run of one process.
std::unique_ptr<Collective> SingleProcess();

// Calls add(i, j), "add part j to part i", until part 0 is the sum of `count` parts: neighbours first, then
// neighbours of those, (0 + 1) + (2 + 3). A power of two of neighbouring parts can be added ahead elsewhere.
template <class Add>
void PairwiseOrder(size_t count, const Add& add) {
  for (size_t stride = 1; stride < count; stride *= 2) {
    for (size_t i = 0; i + stride < count; i += 2 * stride) add(i, i + stride);
  }
}

// The first rank whose bytes are not those of rank 0; none: all agree.
Result<std::optional<int>> FirstToDiffer(Collective& collective, std::span<const std::byte> bytes);

}  // namespace thimble::train
