// Elementary functions on 16 floats: polynomials and rational functions in float32, of which
// every step is exact, fused or correctly rounded, so that all instruction sets agree to the last
// bit. Coefficients are minimax fits of relative error; the errors found over dense samples stand
// in docs/numerics.md and are held by math_test.cc.
#if defined(THIMBLE_RUNTIME_KERNELS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_MATH_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_MATH_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_MATH_INL_H_
#endif

#include "thimble/runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

// Horner's rule, highest coefficient first.
template <class... Coefficients>
HWY_INLINE Floats Polynomial(const Floats& x, float highest, Coefficients... others) {
  Floats sum = Broadcast(highest);
  ((sum = Fma(sum, x, Broadcast(others))), ...);
  return sum;
}

// e^x; infinity above the finite results, 0 from x = -87.3 down: subnormal results would take a
// processor hundreds of cycles each.
HWY_INLINE Floats Exp(const Floats& x) {
  // The order of comparisons keeps NaN.
  const Floats low = Broadcast(-87.3f), high = Broadcast(89.0f);
  const Floats y = SelectLess(x, low, low, SelectLess(high, x, high, x));
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
  const Floats magic = Broadcast(0x1.8p23f);
  const Floats shifted = Fma(y, Broadcast(0x1.715476p0f), magic);
  const Floats n = Sub(shifted, magic);
  Floats r = Fma(n, Broadcast(-0x1.62e4p-1f), y);  // ln 2 in two parts, the first of 14 bits:
  r = Fma(n, Broadcast(-0x1.7f7d1cp-20f), r);      // its product with n is exact without fusion too
  const Floats p =
      Polynomial(r, 0.001390118911f, 0.008363146186f, 0.0416668546f, 0.1666657729f, 0.4999999955f);
  const Floats one = Broadcast(1.0f);
  const Floats e = Add(Fma(Mul(r, r), p, r), one);
  // Two halves of the power of two: n reaches from -126 to 128.
  const Ints integer = Sub(BitsOf(shifted), BitsOf(magic));
  const Ints half = ShiftRightSigned<1>(integer);
  const Ints rest = Sub(integer, half);
  const Floats scale_half = FloatsOf(Add(ShiftLeft<23>(half), BitsOf(one)));
  const Floats scale_rest = FloatsOf(Add(ShiftLeft<23>(rest), BitsOf(one)));
  return SelectLess(x, low, Zeros(), Mul(Mul(e, scale_half), scale_rest));
}

HWY_INLINE Floats Tanh(const Floats& x) {
  const Floats t = Mul(x, x), one = Broadcast(1.0f);
  const Floats p =
      Polynomial(t, 1.333066173e-8f, 2.059226726e-5f, 0.003494587269f, 0.1338018973f, 1.0f);
  const Floats q =
      Polynomial(t, 7.766886634e-7f, 3.283983424e-4f, 0.0258731957f, 0.4671350534f, 1.0f);
  const Floats inside = Min(one, Div(Mul(Abs(x), p), q));
  const Floats beyond = Broadcast(9.01f);  // from here on tanh rounds to 1
  return CopySign(SelectLess(beyond, Abs(x), one, inside), x);
}

// erf(x / sqrt(2)), which is 2 * (normal distribution up to x) - 1.
HWY_INLINE Floats ErfOverSqrt2(const Floats& x) {
  const Floats t = Mul(x, x), one = Broadcast(1.0f);
  const Floats p = Polynomial(t, 4.455610077e-8f, 1.257549031e-5f, 3.379395886e-4f, 0.009355147182f,
                              0.06787097569f, 0.797884544f);
  const Floats q = Polynomial(t, 1.178939121e-6f, 7.334489604e-5f, 0.001885736159f, 0.0286808058f,
                              0.2517299852f, 1.0f);
  const Floats inside = Min(one, Div(Mul(Abs(x), p), q));
  const Floats beyond = Broadcast(5.6f);  // from here on the result rounds to 1
  return CopySign(SelectLess(beyond, Abs(x), one, inside), x);
}

// 1 / (1 + e^-x)
HWY_INLINE Floats Sigmoid(const Floats& x) {
  const Floats one = Broadcast(1.0f);
  return Div(one, Add(one, Exp(Sub(Zeros(), x))));
}

HWY_INLINE Floats Gelu(const Floats& x) {
  const Floats half = Mul(x, Broadcast(0.5f));
  return Fma(half, ErfOverSqrt2(x), half);
}

// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
HWY_INLINE Floats GeluTanh(const Floats& x) {
  const Floats half = Mul(x, Broadcast(0.5f));
  const Floats u = Mul(x, Polynomial(Mul(x, x), 0.0356774081363f, 0.797884560803f));
  return Fma(half, Tanh(u), half);
}

// x tanh(log(1 + e^x)) = x (n / (n + 2)), n = e^x (e^x + 2)
HWY_INLINE Floats Mish(const Floats& x) {
  const Floats two = Broadcast(2.0f), limit = Broadcast(20.0f);  // where n / (n + 2) rounds to 1
  const Floats e = Exp(SelectLess(limit, x, limit, x));
  const Floats n = Mul(e, Add(e, two));
  return Mul(x, Div(n, Add(n, two)));
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
