// Row operations that are too cheap to need a kernel per instruction set: lookups, gathers, pooling.
// Plain C++ without multiply-adds that a compiler could fuse, so the bits are the same everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "thimble/graph/ops.h"
#include "thimble/graph/tensor.h"

namespace thimble {

// y[i] = row ids[i] of a table (f32, f16, or codes with scales; row-major), widened to float32.
// Every id must be a row of the table.
void EmbedRows(const Tensor& table, std::span<const int32_t> ids, float* y, size_t y_stride);

// y[i] = next | current | previous token of row `first + i` inside its sequence, zero beyond its ends.
void TrigramRows(const float* x, size_t x_stride, size_t width, const PackedBatch& batch,
                 size_t first, size_t rows, float* y, size_t y_stride);

// y[i] = first token of sequence `first + i`.
void PoolFirstRows(const float* x, size_t x_stride, size_t width, const PackedBatch& batch,
                   size_t first, size_t rows, float* y, size_t y_stride);

// y[i] = mean over the tokens of sequence `first + i` that are not masked; zero if all are.
void PoolMeanRows(const float* x, size_t x_stride, size_t width, const PackedBatch& batch,
                  size_t first, size_t rows, float* y, size_t y_stride);

// y = x / |x|; a row of zeros stays zero.
void L2NormalizeRows(const float* x, size_t x_stride, size_t width, size_t rows, float* y,
                     size_t y_stride);

}  // namespace thimble
