// The block-sparse layout of a float32 weight: its blocks of zeros are neither stored nor multiplied.
//
// A weight W [outputs N, inputs K] is cut into ceil(N / 16) panels of 16 outputs (graph/panels.h), a
// panel into ceil(K / 8) blocks of 8 inputs. What is kept is stored as block compressed sparse rows
// (the BSR of SciPy and MKL, with panels as its rows):
//
//   begins[panels + 1]   uint32; panel p holds the blocks begins[p] up to begins[p + 1]
//   indices[blocks]      uint32, rising within a panel: the block of inputs 8 i up to 8 i + 8
//   zeros                to the next multiple of 64 bytes
//   values[blocks]       block[k][n]: 8 rows of 16 floats
//
// Outputs beyond N and inputs beyond K are zero. Alignment and guard are those of panels.
//
// Why 16 x 8: sixteen outputs are whole vectors on every instruction set, as in dense panels, so that
// each block is a piece of the dense kernel's loop. Fewer inputs find more zeros, more of them spread
// what a block costs besides its products (an index, two branches) over more of these:
// docs/compression.md has what each size measured. The 32 x 32 blocks of movement pruning are whole
// numbers of ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "thimble/base/result.h"
#include "thimble/graph/panels.h"
#include "thimble/graph/tensor.h"

namespace thimble {

inline constexpr size_t kBlockInputs = 8;
inline constexpr size_t kBlockFloats = kBlockInputs * kPanelWidth;
// Zeros cost nothing: without a limit a small file could ask for any amount of memory when it is
// made dense.
inline constexpr size_t kMaxBlockSparseElements = size_t{1} << 28;

// Bytes before the values, and of the whole, without the guard. No overflow up to 2^32 blocks.
constexpr size_t BlockSparseIndexBytes(size_t outputs, size_t blocks) {
  const size_t panels = RoundUp(outputs, kPanelWidth) / kPanelWidth;
  return RoundUp((panels + 1 + blocks) * sizeof(uint32_t), kPanelAlignment);
}
constexpr size_t BlockSparseBytes(size_t outputs, size_t blocks) {
  return BlockSparseIndexBytes(outputs, blocks) + blocks * kBlockFloats * sizeof(float);
}

// The parts of a weight that CheckBlockSparse accepts.
struct BlockSparse {
  std::span<const uint32_t> begins, indices;
  const float* values = nullptr;  // [indices.size()][kBlockInputs][kPanelWidth]
};
inline BlockSparse ViewBlockSparse(const void* data, size_t outputs) {
  const auto* words = static_cast<const uint32_t*>(data);
  const size_t panels = RoundUp(outputs, kPanelWidth) / kPanelWidth;
  const size_t blocks = words[panels];
  const auto* values = static_cast<const std::byte*>(data) + BlockSparseIndexBytes(outputs, blocks);
  return {
      {words, panels + 1}, {words + panels + 1, blocks}, reinterpret_cast<const float*>(values)};
}

// Whether these bytes (at a multiple of 64) are such a weight: kernels trust the lists. kInvalidData.
Status CheckBlockSparse(size_t outputs, size_t inputs, std::span<const std::byte> data);

// Row-major kF32 of rank 2 and at most so many elements -> block-sparse and back. Exact, but for -0, which comes back as 0.
Tensor PackBlockSparse(const Tensor& weight);
Tensor UnpackBlockSparse(const Tensor& weight);

// Blocks that are stored of those there are, of a block-sparse weight.
double BlockDensity(const Tensor& weight);

// Multiply-adds of one row with a weight of any layout: its elements, of a block-sparse one those of
// the blocks that are stored.
double ProductsPerRow(const Tensor& weight);

}  // namespace thimble
