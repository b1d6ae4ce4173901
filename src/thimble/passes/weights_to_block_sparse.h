// When the pass weights_to_block_sparse converts a weight.
#pragma once

namespace thimble {

// The share of blocks with a number that is not zero below which a block-sparse weight is multiplied
// faster than a dense one at every size and number of rows measured (docs/compression.md, "Block-sparse
// weights": AMD EPYC with AVX2, 2026-11-27, targets/block_sparse_bench).
inline constexpr double kBlockSparseBreakEven = 0.8;

}  // namespace thimble
