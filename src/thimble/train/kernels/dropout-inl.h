// Dropout by a hash of row key and column (dropout_bits.h).
#if defined(THIMBLE_TRAIN_KERNELS_DROPOUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_TRAIN_KERNELS_DROPOUT_INL_H_
#undef THIMBLE_TRAIN_KERNELS_DROPOUT_INL_H_
#else
#define THIMBLE_TRAIN_KERNELS_DROPOUT_INL_H_
#endif

#include <algorithm>

#include "thimble/runtime/kernels/simd-inl.h"
#include "thimble/train/kernels/dropout_bits.h"
#include "thimble/train/kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

HWY_INLINE Ints BroadcastBits(uint32_t bits) { return BroadcastInt(static_cast<int32_t>(bits)); }

// 16 times MixBits: `steps` holds number * kMixStep.
HWY_INLINE Ints MixBits(const Ints& key, const Ints& steps) {
  Ints x = Xor(steps, key);
  x = Mul(Xor(x, ShiftRight<16>(x)), BroadcastBits(kMixFirst));
  x = Mul(Add(Xor(x, ShiftRight<15>(x)), key), BroadcastBits(kMixSecond));
  return Xor(x, ShiftRight<16>(x));
}

HWY_INLINE Ints LowHalf(const Ints& mix) { return And(mix, BroadcastInt(0xFFFF)); }
HWY_INLINE Ints HighHalf(const Ints& mix) { return ShiftRight<16>(mix); }

// bits < threshold ? yes : no
HWY_INLINE Floats SelectDropped(const Ints& bits, const Ints& threshold, const Floats& yes,
                                const Floats& no) {
  return FloatsOf(SelectLess(bits, threshold, BitsOf(yes), BitsOf(no)));
}

// The mixes of 16 columns from a multiple of 32 on: number * kMixStep.
HWY_INLINE Ints FirstSteps() {
  alignas(64) static constexpr auto kSteps = [] {
    struct {
      int32_t at[kLanes];
    } steps{};
    for (uint32_t i = 0; i < kLanes; ++i) steps.at[i] = static_cast<int32_t>(i * kMixStep);
    return steps;
  }();
  return Load(kSteps.at);
}

template <bool kResidual>
HWY_INLINE void DropoutRows(const DropoutArgs& args) {
  const Ints threshold = BroadcastInt(DropoutThreshold(args.probability));
  const Floats scale = Broadcast(1.0f / (1.0f - args.probability));
  const Ints block_step = BroadcastBits(static_cast<uint32_t>(kLanes) * kMixStep);
  for (size_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.width;
    const float* residual = kResidual ? args.residual + r * args.width : nullptr;
    float* y = args.y + r * args.width;
    const Ints key = BroadcastBits(args.row_keys[r]);
    Ints steps = FirstSteps();
    const auto element = [&](const Ints& bits, const Floats& in, const Floats& other) HWY_ATTR {
      const Floats kept = SelectDropped(bits, threshold, Zeros(), Mul(in, scale));
      return kResidual ? Add(kept, other) : kept;
    };
    size_t c = 0;
    for (; c + 2 * kLanes <= args.width; c += 2 * kLanes) {
      const Ints mix = MixBits(key, steps);
      steps = Add(steps, block_step);
      const Floats low = Load(x + c), high = Load(x + c + kLanes);
      Floats other_low = low, other_high = high;
      if constexpr (kResidual) {
        other_low = Load(residual + c), other_high = Load(residual + c + kLanes);
      }
      Store(element(LowHalf(mix), low, other_low), y + c);
      Store(element(HighHalf(mix), high, other_high), y + c + kLanes);
    }
    const Ints mix = MixBits(key, steps);
    for (bool in_high = false; c < args.width; c += kLanes, in_high = true) {
      const size_t lanes = std::min(args.width - c, kLanes);
      const Floats in = LoadFirst(x + c, lanes);
      const Floats other = kResidual ? LoadFirst(residual + c, lanes) : in;
      StoreFirst(element(in_high ? HighHalf(mix) : LowHalf(mix), in, other), y + c, lanes);
    }
  }
}

inline void Dropout(const DropoutArgs& args) noexcept {
  if (args.residual != nullptr) {
    DropoutRows<true>(args);
  } else {
    DropoutRows<false>(args);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
