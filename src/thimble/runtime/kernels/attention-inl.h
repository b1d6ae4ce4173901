// One attention head: keys and values go into panels once, then blocks of queries pass through the
// same tiles as any other product, with the softmax between them.
#if defined(THIMBLE_RUNTIME_KERNELS_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_ATTENTION_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_ATTENTION_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "thimble/runtime/kernels/attention_scratch.h"
#include "thimble/runtime/kernels/gemm_float-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

// panel[d][n] = scale * rows[n][d] for 16 rows.
inline void TransposeRows(const float* const* rows, size_t width, float scale, float* panel) {
  size_t d = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> tag;
  const auto factor = hn::Set(tag, scale);
  for (; d + 4 <= width; d += 4) {
    THIMBLE_UNROLL
    for (size_t n = 0; n < kPanelWidth; n += 4) {
      const auto a = hn::Mul(hn::LoadU(tag, rows[n] + d), factor);
      const auto b = hn::Mul(hn::LoadU(tag, rows[n + 1] + d), factor);
      const auto c = hn::Mul(hn::LoadU(tag, rows[n + 2] + d), factor);
      const auto e = hn::Mul(hn::LoadU(tag, rows[n + 3] + d), factor);
      const auto ab_low = hn::InterleaveLower(tag, a, b), ab_high = hn::InterleaveUpper(tag, a, b);
      const auto ce_low = hn::InterleaveLower(tag, c, e), ce_high = hn::InterleaveUpper(tag, c, e);
      float* to = panel + d * kPanelWidth + n;
      hn::Store(hn::ConcatLowerLower(tag, ce_low, ab_low), tag, to);
      hn::Store(hn::ConcatUpperUpper(tag, ce_low, ab_low), tag, to + kPanelWidth);
      hn::Store(hn::ConcatLowerLower(tag, ce_high, ab_high), tag, to + 2 * kPanelWidth);
      hn::Store(hn::ConcatUpperUpper(tag, ce_high, ab_high), tag, to + 3 * kPanelWidth);
    }
  }
#endif
  for (; d < width; ++d) {
    for (size_t n = 0; n < kPanelWidth; ++n) panel[d * kPanelWidth + n] = scale * rows[n][d];
  }
}

// Packs the keys and values that count, and says how many they are.
inline size_t PackKeysAndValues(const AttentionArgs& args, const AttentionScratch& at) {
  const bool all_masked =
      args.key_mask != nullptr &&
      std::all_of(args.key_mask, args.key_mask + args.keys, [](uint8_t byte) { return byte == 0; });
  const uint8_t* mask = all_masked ? nullptr : args.key_mask;
  const float scale = all_masked ? 0.0f : args.scale;  // equal scores: all count alike
  const size_t value_panel_size =
      static_cast<size_t>(mask == nullptr
                              ? args.keys
                              : args.keys - std::count(mask, mask + args.keys, uint8_t{0})) *
      kPanelWidth;
  const float* rows[kPanelWidth];
  size_t kept = 0;
  const auto flush = [&](size_t filled) HWY_ATTR {
    for (size_t n = filled; n < kPanelWidth; ++n) rows[n] = rows[0];  // never looked at
    TransposeRows(rows, args.head_width, scale,
                  args.scratch + at.key_panels + (kept - filled) * args.head_width);
  };
  for (size_t key = 0; key < args.keys; ++key) {
    if (mask != nullptr && mask[key] == 0) continue;
    float* values = args.scratch + at.value_panels + kept * kPanelWidth;
    ForEachLanes(args.value_width, [&](size_t, const auto& load, const auto&) HWY_ATTR {
      Store(load(args.v + key * args.v_stride), values);
      values += value_panel_size;
    });
    rows[kept++ % kPanelWidth] = args.k + key * args.k_stride;
    if (kept % kPanelWidth == 0) flush(kPanelWidth);
  }
  if (kept % kPanelWidth != 0) flush(kept % kPanelWidth);
  return kept;
}

// s = exp(s - max s); gives their sum. The row is readable and writable up to a multiple of 16.
inline float ExpRow(float* s, size_t width) {
  const Floats none = Broadcast(-std::numeric_limits<float>::infinity());
  const size_t last = (width - 1) / kLanes * kLanes;
  const Floats rest = KeepFirst(Load(s + last), width - last, none);
  Floats largest = rest;
  for (size_t i = 0; i < last; i += kLanes) largest = Max(Load(s + i), largest);
  const Floats max = Broadcast(FoldMax(largest));
  Floats sum = Zeros();
  for (size_t i = 0; i < last; i += kLanes) {
    const Floats e = Exp(Sub(Load(s + i), max));
    Store(e, s + i);
    sum = Add(sum, e);
  }
  const Floats e = Exp(Sub(rest, max));
  Store(e, s + last);
  return FoldSum(Add(sum, e));
}

inline void Attention(const AttentionArgs& args) noexcept {
  const AttentionScratch at = DivideAttentionScratch(args.keys, args.head_width, args.value_width);
  const size_t keys = PackKeysAndValues(args, at);
  float* scores = args.scratch + at.scores;
  float* sums = args.scratch + at.sums;
  for (size_t first = 0; first < args.queries; first += kQueryBlock) {
    const size_t rows = std::min(kQueryBlock, args.queries - first);
    MultiplyPanels(args.q + first * args.q_stride, args.q_stride, rows, args.head_width,
                   args.scratch + at.key_panels, (keys + kPanelWidth - 1) / kPanelWidth, scores,
                   at.scores_stride);
    float totals[kQueryBlock];
    for (size_t r = 0; r < rows; ++r) totals[r] = ExpRow(scores + r * at.scores_stride, keys);
    MultiplyPanels(scores, at.scores_stride, rows, keys, args.scratch + at.value_panels,
                   at.sums_stride / kPanelWidth, sums, at.sums_stride);
    for (size_t r = 0; r < rows; ++r) {
      const Floats factor = Broadcast(1.0f / totals[r]);
      float* out = args.out + (first + r) * args.out_stride;
      ForEachLanes(args.value_width, [&](size_t, const auto& load, const auto& store) HWY_ATTR {
        store(Mul(load(sums + r * at.sums_stride), factor), out);
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
