// Activation functions over all elements, and their derivatives in closed form.
#if defined(THIMBLE_TRAIN_KERNELS_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_TRAIN_KERNELS_ACTIVATION_INL_H_
#undef THIMBLE_TRAIN_KERNELS_ACTIVATION_INL_H_
#else
#define THIMBLE_TRAIN_KERNELS_ACTIVATION_INL_H_
#endif

#include "thimble/runtime/kernels/rows-inl.h"
#include "thimble/train/kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

inline void ActivationForward(Activation function, const float* x, float* y,
                              size_t count) noexcept {
  ActivateRows({.x = x, .x_stride = count, .rows = 1, .width = count, .y = y, .y_stride = count},
               function);
}

// Beyond 90 every derivative has its limit, and nothing overflows on the way there. Keeps NaN.
HWY_INLINE Floats ClampToFinite(const Floats& x) {
  return Max(Broadcast(-90.0f), Min(Broadcast(90.0f), x));
}

// P(x) + x p(x), of the normal distribution and its density.
HWY_INLINE Floats GeluSlope(const Floats& unbounded) {
  const Floats x = ClampToFinite(unbounded), half = Broadcast(0.5f);
  const Floats density = Mul(Exp(Mul(Mul(x, x), Broadcast(-0.5f))), Broadcast(0.398942280401f));
  return Fma(x, density, Fma(half, ErfOverSqrt2(x), half));
}

// s(z) = 1 / (1 + e^-z) and s (1 - s), both to a few units of their own size.
struct Gate {
  Floats open, slope;
};
HWY_INLINE Gate SigmoidGate(const Floats& z) {
  const Floats one = Broadcast(1.0f), e = Exp(Sub(Zeros(), Abs(z)));
  const Floats inverse = Div(one, Add(one, e)), small = Mul(e, inverse);
  return {SelectLess(z, Zeros(), small, inverse), Mul(small, inverse)};
}

// 1 + tanh(u) = 2 s(2 u): with z = 2 sqrt(2 / pi) (x + 0.044715 x^3) the slope of x s(z).
HWY_INLINE Floats GeluTanhSlope(const Floats& unbounded) {
  const Floats x = ClampToFinite(unbounded), square = Mul(x, x);
  const Gate gate = SigmoidGate(Mul(x, Polynomial(square, 0.0713548162726f, 1.59576912161f)));
  const Floats inner = Polynomial(square, 0.214064448818f, 1.59576912161f);
  return Fma(Mul(x, inner), gate.slope, gate.open);
}

// The slope of x s(a x).
HWY_INLINE Floats SigmoidGateSlope(const Floats& unbounded, float factor) {
  const Floats z = Mul(ClampToFinite(unbounded), Broadcast(factor));
  const Gate gate = SigmoidGate(z);
  return Fma(z, gate.slope, gate.open);
}

// With e = e^x, n = e (e + 2): n / (n + 2) + 4 x e (e + 1) / (n + 2)^2
HWY_INLINE Floats MishSlope(const Floats& unbounded) {
  const Floats x = ClampToFinite(unbounded), one = Broadcast(1.0f), two = Broadcast(2.0f);
  const Floats limit = Broadcast(20.0f);  // where the slope rounds to 1
  const Floats e = Exp(SelectLess(limit, x, limit, x));
  const Floats n = Mul(e, Add(e, two)), inverse = Div(one, Add(n, two));
  const Floats bend = Mul(Mul(Mul(Broadcast(4.0f), Mul(x, e)), Mul(Add(e, one), inverse)), inverse);
  return Fma(n, inverse, bend);
}

template <class Slope>
HWY_INLINE void MultiplyBySlope(const float* x, const float* d_y, float* d_x, size_t count,
                                const Slope& slope) {
  ForEachLanes(count, [&](size_t, const auto& load, const auto& store)
                          HWY_ATTR { store(Mul(load(d_y), slope(load(x))), d_x); });
}

// Where a function bends at one point, its slope there is 0 for those of Relu's kind and 1 for the
// leaky one.
inline void ActivationBackward(Activation function, const float* x, const float* d_y, float* d_x,
                               size_t count) noexcept {
  const auto apply = [&](const auto& slope)
                         HWY_ATTR { MultiplyBySlope(x, d_y, d_x, count, slope); };
  const Floats zero = Zeros(), one = Broadcast(1.0f);
  switch (function) {
    case Activation::kIdentity:
      return apply([&](const Floats&) HWY_ATTR { return one; });
    case Activation::kRelu:
      return apply([&](const Floats& v) HWY_ATTR { return SelectLess(zero, v, one, zero); });
    case Activation::kRelu6:
      return apply([&](const Floats& v) HWY_ATTR {
        return SelectLess(zero, v, SelectLess(v, Broadcast(6.0f), one, zero), zero);
      });
    case Activation::kRelu2:
      return apply([&](const Floats& v) HWY_ATTR { return Mul(Relu(v), Broadcast(2.0f)); });
    case Activation::kGelu:
      return apply([&](const Floats& v) HWY_ATTR { return GeluSlope(v); });
    case Activation::kGeluTanh:
      return apply([&](const Floats& v) HWY_ATTR { return GeluTanhSlope(v); });
    case Activation::kQuickGelu:
      return apply([&](const Floats& v) HWY_ATTR { return SigmoidGateSlope(v, 1.702f); });
    case Activation::kGelu10:
      return apply([&](const Floats& v) HWY_ATTR {
        return SelectLess(Gelu(v), Broadcast(10.0f), GeluSlope(v), zero);
      });
    case Activation::kLeakyRelu:
      return apply([&](const Floats& v)
                       HWY_ATTR { return SelectLess(v, zero, Broadcast(0.01f), one); });
    case Activation::kSilu:
      return apply([&](const Floats& v) HWY_ATTR { return SigmoidGateSlope(v, 1.0f); });
    case Activation::kMish:
      return apply([&](const Floats& v) HWY_ATTR { return MishSlope(v); });
    case Activation::kSigmoid:
      return apply([&](const Floats& v) HWY_ATTR { return SigmoidGate(v).slope; });
    case Activation::kTanh:  // 1 - tanh^2(x) = 4 s(2 x) (1 - s(2 x))
      return apply([&](const Floats& v)
                       HWY_ATTR { return Mul(SigmoidGate(Add(v, v)).slope, Broadcast(4.0f)); });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
