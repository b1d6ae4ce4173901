// AdamW, and what surrounds it: sums of squares and scaled additions.
#if defined(THIMBLE_TRAIN_KERNELS_OPTIMIZER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_TRAIN_KERNELS_OPTIMIZER_INL_H_
#undef THIMBLE_TRAIN_KERNELS_OPTIMIZER_INL_H_
#else
#define THIMBLE_TRAIN_KERNELS_OPTIMIZER_INL_H_
#endif

#include <cmath>

#include "thimble/runtime/kernels/simd-inl.h"
#include "thimble/train/kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

inline void AdamW(const AdamWArgs& args) noexcept {
  const Floats gradient_scale = Broadcast(args.gradient_scale);
  const Floats beta1 = Broadcast(args.beta1), beta2 = Broadcast(args.beta2);
  const Floats rest1 = Broadcast(1.0f - args.beta1), rest2 = Broadcast(1.0f - args.beta2);
  const Floats epsilon = Broadcast(args.epsilon);
  const Floats shrink = Broadcast(1.0f - args.rate * args.decay);
  const Floats step = Broadcast(-args.rate / args.correction1);
  const Floats second_scale = Broadcast(1.0f / std::sqrt(args.correction2));
  ForEachLanes(args.count, [&](size_t, const auto& load, const auto& store) HWY_ATTR {
    const Floats g = Mul(load(args.gradients), gradient_scale);
    const Floats first = Fma(beta1, load(args.first), Mul(rest1, g));
    const Floats second = Fma(beta2, load(args.second), Mul(rest2, Mul(g, g)));
    store(first, args.first);
    store(second, args.second);
    const Floats direction = Div(first, Fma(Sqrt(second), second_scale, epsilon));
    store(Fma(step, direction, Mul(load(args.weights), shrink)), args.weights);
  });
}

inline void AddScaled(const float* x, float scale, float* y, size_t count) noexcept {
  const Floats factor = Broadcast(scale);
  ForEachLanes(count, [&](size_t, const auto& load, const auto& store)
                          HWY_ATTR { store(Fma(factor, load(x), load(y)), y); });
}

// 16 partial sums, lane i of elements i, i + 16, ..., that meet as those of floats do. A square of a
// float is exact in double, so only the additions round.
inline double SumOfSquares(const float* x, size_t count) noexcept {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> half;
  constexpr size_t kDoubleLanes = HWY_MIN(HWY_LANES(double), 8), kDoubles = kLanes / kDoubleLanes;
  hn::Vec<decltype(d)> sums[kDoubles];
  for (auto& sum : sums) sum = hn::Zero(d);
  size_t at = 0;
  for (; at + kLanes <= count; at += kLanes) {
    THIMBLE_UNROLL
    for (size_t i = 0; i < kDoubles; ++i) {
      const auto wide = hn::PromoteTo(d, hn::LoadU(half, x + at + i * kDoubleLanes));
      sums[i] = hn::Add(sums[i], hn::Mul(wide, wide));
    }
  }
  double lanes[kLanes];
  for (size_t i = 0; i < kDoubles; ++i) hn::StoreU(sums[i], d, lanes + i * kDoubleLanes);
  for (size_t i = 0; at + i < count; ++i) lanes[i] += static_cast<double>(x[at + i]) * x[at + i];
  for (size_t half_lanes = kLanes / 2; half_lanes > 0; half_lanes /= 2) {
    for (size_t i = 0; i < half_lanes; ++i) lanes[i] += lanes[i + half_lanes];
  }
  return lanes[0];
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
