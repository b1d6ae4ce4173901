// Attention of training, head by head of each sequence: the products are small, so what counts is
// that nothing is prepared that is used once. Rows of a few tokens are multiplied where they lie;
// blocks of queries keep the scores of long sequences in the first-level cache.
#if defined(THIMBLE_TRAIN_KERNELS_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_TRAIN_KERNELS_ATTENTION_INL_H_
#undef THIMBLE_TRAIN_KERNELS_ATTENTION_INL_H_
#else
#define THIMBLE_TRAIN_KERNELS_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include "thimble/runtime/kernels/attention-inl.h"
#include "thimble/train/kernels/attention_layout.h"
#include "thimble/train/kernels/dropout-inl.h"
#include "thimble/train/kernels/products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

// One call's scratch, for the longest of its sequences.
class AttentionWork {
 public:
  explicit AttentionWork(const AttentionShape& shape) : shape_(shape) {
    size_t longest = 0;
    ForEachSequence(shape, [&](const SequencePlace& at) { longest = std::max(longest, at.keys); });
    at_ = DivideTrainAttentionScratch(longest, shape.head_width, shape.value_width);
    data_.reset(new (std::align_val_t{64}) float[at_.floats]);
  }

  float* transposed() const { return data_.get() + at_.transposed; }
  float* packed() const { return data_.get() + at_.packed; }
  float* block_rows() const { return data_.get() + at_.block_rows; }
  float* weights() const { return data_.get() + at_.weights; }
  float* gradients() const { return data_.get() + at_.gradients; }
  float* mask() const { return data_.get() + at_.mask; }
  int32_t* steps() const { return reinterpret_cast<int32_t*>(data_.get() + at_.steps); }
  int32_t* is_high() const { return reinterpret_cast<int32_t*>(data_.get() + at_.is_high); }
  size_t block_stride() const { return at_.block_stride; }

  // What the keys of a sequence count for: 0, or -infinity where masked and beyond the last. Gives
  // the factor of scores: none, where all are masked and therefore count alike.
  HWY_INLINE float FillMask(const SequencePlace& at) const {
    const uint8_t* bytes = shape_.mask == nullptr ? nullptr : shape_.mask + at.first_key;
    const bool all_masked =
        bytes != nullptr && std::all_of(bytes, bytes + at.keys, [](uint8_t b) { return b == 0; });
    constexpr float kNone = -std::numeric_limits<float>::infinity();
    float* out = mask();
    for (size_t j = 0; j < at.keys; ++j) {
      out[j] = bytes == nullptr || all_masked || bytes[j] != 0 ? 0.0f : kNone;
    }
    std::fill(out + at.keys, out + ScoreStride(at.keys), kNone);
    return all_masked ? 0.0f : shape_.scale;
  }

  // What decides the dropout of a head's keys, the row's key aside: MixNumber and TakesHighHalf.
  HWY_INLINE void FillSteps(size_t head, size_t keys) const {
    alignas(64) static constexpr int32_t kNumbers[kLanes] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                             8, 9, 10, 11, 12, 13, 14, 15};
    const Ints in_half = BroadcastInt(15), high = BroadcastInt(16);
    for (size_t j = 0; j < keys; j += kLanes) {
      const Ints column = Add(Load(kNumbers), BroadcastInt(static_cast<int32_t>(head * keys + j)));
      const Ints number = Add(And(ShiftRight<1>(column), BroadcastInt(~15)), And(column, in_half));
      Store(Mul(number, BroadcastBits(kMixStep)), steps() + j);
      Store(And(column, high), is_high() + j);
    }
  }

 private:
  struct Free {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  const AttentionShape& shape_;
  TrainAttentionScratch at_{};
  std::unique_ptr<float[], Free> data_;
};

// panels[p][d][n] = scale * rows[16 p + n][d]; beyond the last row it repeats another.
HWY_INLINE void TransposeIntoPanels(const float* rows, size_t stride, size_t count, size_t width,
                                    float scale, float* panels) {
  for (size_t first = 0; first < count; first += kPanelWidth) {
    const float* pointers[kPanelWidth];
    for (size_t n = 0; n < kPanelWidth; ++n) {
      pointers[n] = rows + std::min(first + n, count - 1) * stride;
    }
    TransposeRows(pointers, width, scale, panels + first * width);
  }
}

HWY_INLINE Right PanelsAsRight(const float* panels, size_t inputs) {
  return {panels, kPanelWidth, inputs * kPanelWidth};
}

// p = softmax(p + mask) over a row of whole vectors.
HWY_INLINE void SoftmaxRow(float* p, const float* mask, size_t stride) {
  const Floats zero = Zeros();
  const auto score = [&](size_t i) HWY_ATTR {
    const Floats m = Load(mask + i);
    return SelectLess(m, zero, m, Load(p + i));
  };
  if (stride == kLanes) {  // up to 16 keys: all in registers
    const Floats s = score(0);
    const Floats e = Exp(Sub(s, Broadcast(FoldMax(s))));
    return Store(Mul(e, Broadcast(1.0f / FoldSum(e))), p);
  }
  Floats largest = Broadcast(-std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < stride; i += kLanes) largest = Max(score(i), largest);
  const Floats max = Broadcast(FoldMax(largest));
  Floats sum = zero;
  for (size_t i = 0; i < stride; i += kLanes) {
    const Floats e = Exp(Sub(score(i), max));
    Store(e, p + i);
    sum = Add(sum, e);
  }
  const Floats factor = Broadcast(1.0f / FoldSum(sum));
  for (size_t i = 0; i < stride; i += kLanes) Store(Mul(Load(p + i), factor), p + i);
}

// Sets the signs of what is dropped in a row of probabilities; weights are what is kept, scaled up.
HWY_INLINE void DropRow(const AttentionWork& work, uint32_t row_key, int32_t threshold, float scale,
                        float* p, float* weights, size_t stride) {
  const Ints key = BroadcastBits(row_key), least = BroadcastInt(threshold);
  const Ints none = BroadcastInt(0), sign = BroadcastBits(0x80000000);
  const Floats factor = Broadcast(scale);
  for (size_t i = 0; i < stride; i += kLanes) {
    const Ints mix = MixBits(key, Load(work.steps() + i));
    const Ints bits = SelectLess(none, Load(work.is_high() + i), HighHalf(mix), LowHalf(mix));
    const Floats all = Load(p + i);
    const Floats marked = FloatsOf(Xor(BitsOf(all), SelectLess(bits, least, sign, none)));
    Store(marked, p + i);
    Store(Mul(Max(marked, Zeros()), factor), weights + i);
  }
}

inline void AttentionForward(const AttentionForwardArgs& args) noexcept {
  const AttentionShape& shape = args.shape;
  const AttentionWork work(shape);
  const size_t head_width = shape.head_width, value_width = shape.value_width;
  const float dropout_scale = 1.0f / (1.0f - shape.dropout);
  const int32_t threshold = DropoutThreshold(shape.dropout);
  ForEachSequence(shape, [&](const SequencePlace& at) HWY_ATTR {
    if (at.keys == 0) {
      for (size_t i = 0; i < at.queries; ++i) {
        float* out = args.out + (at.first_query + i) * shape.out_stride;
        std::fill(out, out + shape.heads * value_width, 0.0f);
      }
      return;
    }
    const float scale = work.FillMask(at);
    const size_t stride = ScoreStride(at.keys);
    for (size_t h = 0; h < shape.heads; ++h) {
      TransposeIntoPanels(args.k + at.first_key * shape.k_stride + h * head_width, shape.k_stride,
                          at.keys, head_width, scale, work.transposed());
      const Right values = RowsAsRight(args.v + at.first_key * shape.v_stride + h * value_width,
                                       shape.v_stride, at.keys, value_width, work.packed());
      if (shape.dropout > 0) work.FillSteps(h, at.keys);
      for (size_t first = 0; first < at.queries; first += kTrainQueryBlock) {
        const size_t rows = std::min(kTrainQueryBlock, at.queries - first);
        const size_t row = at.first_query + first;
        float* p = args.kept + at.kept + (h * at.queries + first) * stride;
        Multiply<false>({.a = {args.q + row * shape.q_stride + h * head_width, shape.q_stride},
                         .b = PanelsAsRight(work.transposed(), head_width),
                         .rows = rows,
                         .inputs = head_width,
                         .width = stride,
                         .c = p,
                         .c_stride = stride});
        Left weights{p, stride};
        if (shape.dropout > 0) weights = {work.weights(), work.block_stride()};
        for (size_t r = 0; r < rows; ++r) {
          SoftmaxRow(p + r * stride, work.mask(), stride);
          if (shape.dropout > 0) {
            DropRow(work, shape.row_keys[row + r], threshold, dropout_scale, p + r * stride,
                    work.weights() + r * work.block_stride(), stride);
          }
        }
        Multiply<false>({.a = weights,
                         .b = values,
                         .rows = rows,
                         .inputs = at.keys,
                         .width = value_width,
                         .c = args.out + row * shape.out_stride + h * value_width,
                         .c_stride = shape.out_stride});
      }
    }
  });
}

// From the kept probabilities p and the gradient of what they were multiplied by: the weights w that
// dropout left of p, and the gradient of the scores before their scale, times it:
// scale (w d - p sum(w d)).
HWY_INLINE void SoftmaxRowBackward(const float* p, float dropout_scale, float scale, float* weights,
                                   float* gradients, size_t stride) {
  const Floats factor = Broadcast(dropout_scale);
  Floats sum = Zeros();
  for (size_t i = 0; i < stride; i += kLanes) {
    const Floats w = Mul(Max(Load(p + i), Zeros()), factor);
    const Floats wd = Mul(w, Load(gradients + i));
    Store(w, weights + i);
    Store(wd, gradients + i);
    sum = Add(sum, wd);
  }
  const Floats minus_sum = Broadcast(-FoldSum(sum)), score_scale = Broadcast(scale);
  for (size_t i = 0; i < stride; i += kLanes) {
    const Floats d = Fma(Abs(Load(p + i)), minus_sum, Load(gradients + i));
    Store(Mul(d, score_scale), gradients + i);
  }
}

inline void AttentionBackward(const AttentionBackwardArgs& args) noexcept {
  const AttentionShape& shape = args.shape;
  const AttentionWork work(shape);
  const size_t head_width = shape.head_width, value_width = shape.value_width;
  const float dropout_scale = 1.0f / (1.0f - shape.dropout);
  ForEachSequence(shape, [&](const SequencePlace& at) HWY_ATTR {
    if (at.keys == 0) {
      for (size_t i = 0; i < at.queries; ++i) {
        float* d_q = args.d_q + (at.first_query + i) * shape.q_stride;
        std::fill(d_q, d_q + shape.heads * head_width, 0.0f);
      }
      return;
    }
    const float scale = work.FillMask(at);
    const size_t stride = ScoreStride(at.keys);
    for (size_t h = 0; h < shape.heads; ++h) {
      const size_t head = h * head_width, value_head = h * value_width;
      TransposeIntoPanels(args.v + at.first_key * shape.v_stride + value_head, shape.v_stride,
                          at.keys, value_width, 1.0f, work.transposed());
      const Right keys = RowsAsRight(args.k + at.first_key * shape.k_stride + head, shape.k_stride,
                                     at.keys, head_width, work.packed());
      for (size_t first = 0; first < at.queries; first += kTrainQueryBlock) {
        const size_t rows = std::min(kTrainQueryBlock, at.queries - first);
        const size_t row = at.first_query + first;
        const float* p = args.kept + at.kept + (h * at.queries + first) * stride;
        const float* q = args.q + row * shape.q_stride + head;
        const float* d_out = args.d_out + row * shape.out_stride + value_head;
        const Left weights{work.weights(), work.block_stride()};
        const Left gradients{work.gradients(), work.block_stride()};
        Multiply<false>({.a = {d_out, shape.out_stride},
                         .b = PanelsAsRight(work.transposed(), value_width),
                         .rows = rows,
                         .inputs = value_width,
                         .width = stride,
                         .c = work.gradients(),
                         .c_stride = work.block_stride()});
        for (size_t r = 0; r < rows; ++r) {
          SoftmaxRowBackward(p + r * stride, dropout_scale, scale,
                             work.weights() + r * work.block_stride(),
                             work.gradients() + r * work.block_stride(), stride);
        }
        Multiply<true>(
            {.a = weights,
             .b = RowsAsRight(d_out, shape.out_stride, rows, value_width, work.block_rows()),
             .rows = at.keys,
             .inputs = rows,
             .width = value_width,
             .c = args.d_v + at.first_key * shape.v_stride + value_head,
             .c_stride = shape.v_stride,
             .add = first != 0});
        Multiply<false>({.a = gradients,
                         .b = keys,
                         .rows = rows,
                         .inputs = at.keys,
                         .width = head_width,
                         .c = args.d_q + row * shape.q_stride + head,
                         .c_stride = shape.q_stride});
        Multiply<true>({.a = gradients,
                        .b = RowsAsRight(q, shape.q_stride, rows, head_width, work.block_rows()),
                        .rows = at.keys,
                        .inputs = rows,
                        .width = head_width,
                        .c = args.d_k + at.first_key * shape.k_stride + head,
                        .c_stride = shape.k_stride,
                        .add = first != 0});
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
