// What attention keeps and what it needs meanwhile: the same for every instruction set.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "thimble/graph/panels.h"
#include "thimble/train/kernels/kernels.h"

namespace thimble {

inline constexpr size_t kTrainQueryBlock = 32;  // queries whose scores are worked on at a time

// Scores and their gradients have rows of whole vectors.
constexpr size_t ScoreStride(size_t keys) { return RoundUp(keys, kPanelWidth); }

// Offsets in floats, each a multiple of 16, of one call's scratch: enough for `keys`, the longest
// sequence.
struct TrainAttentionScratch {
  size_t transposed;          // panels of keys or values over one sequence's keys
  size_t packed;              // rows of keys or values as panels
  size_t block_rows;          // the same of a block of queries or of gradients
  size_t weights, gradients;  // [kTrainQueryBlock, block_stride]
  size_t block_stride;
  size_t mask;     // per key: 0, or -infinity
  size_t steps;    // per key: what dropout_bits.h mixes
  size_t is_high;  // per key: which half of the mix decides
  size_t floats;
};

constexpr TrainAttentionScratch DivideTrainAttentionScratch(size_t keys, size_t head_width,
                                                            size_t value_width) {
  const size_t width = RoundUp(std::max(head_width, value_width), kPanelWidth);
  const size_t stride = ScoreStride(keys);
  TrainAttentionScratch s{};
  s.packed = s.transposed + stride * width;
  s.block_rows = s.packed + stride * width;
  s.weights = s.block_rows + kTrainQueryBlock * width;
  // Off the powers of two, at which the rows of a block would compete for the same cache lines.
  s.block_stride = stride + kPanelWidth;
  s.gradients = s.weights + kTrainQueryBlock * s.block_stride;
  s.mask = s.gradients + kTrainQueryBlock * s.block_stride;
  s.steps = s.mask + stride;
  s.is_high = s.steps + stride;
  s.floats = s.is_high + stride;
  return s;
}

// One sequence of a call.
struct SequencePlace {
  size_t first_key, keys;       // in rows of tokens
  size_t first_query, queries;  // in rows of q
  size_t kept;                  // where its probabilities begin
};

template <class Visit>
void ForEachSequence(const AttentionShape& shape, const Visit& visit) {
  size_t kept = 0;
  for (size_t s = 0; s + 1 < shape.offsets.size(); ++s) {
    const auto first = static_cast<size_t>(shape.offsets[s]);
    const size_t keys = static_cast<size_t>(shape.offsets[s + 1]) - first;
    const size_t queries = shape.per_token ? keys : 1;
    visit(SequencePlace{first, keys, shape.per_token ? first : s, queries, kept});
    kept += shape.heads * queries * ScoreStride(keys);
  }
}

}  // namespace thimble
