// A vector of 16 floats on every instruction set: one AVX-512 register, two of AVX2, four of SSE4,
// NEON or WebAssembly, sixteen scalars. Written against it, a kernel performs the same operations
// in the same order everywhere, which is what makes its results the same bits (docs/numerics.md).
//
// Included once per target: no include guard of the usual kind.
#if defined(THIMBLE_RUNTIME_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_SIMD_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_SIMD_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_SIMD_INL_H_
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"

// Loops over the registers of one Floats, or of a tile, vanish: their count is a constant. Of plain C++ they stay, whose
// code would otherwise be as long as that of all instruction sets together.
#undef THIMBLE_UNROLL
#if HWY_TARGET == HWY_SCALAR && defined(__clang__)
#define THIMBLE_UNROLL _Pragma("clang loop unroll(disable)")
#elif HWY_TARGET == HWY_SCALAR
#define THIMBLE_UNROLL _Pragma("GCC unroll 1")
#elif defined(__clang__)
#define THIMBLE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define THIMBLE_UNROLL _Pragma("GCC unroll 16")
#endif

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;
using IntTag = hn::RebindToSigned<FloatTag>;
using UnsignedTag = hn::RebindToUnsigned<FloatTag>;
using Register = hn::Vec<FloatTag>;
using IntRegister = hn::Vec<IntTag>;

inline constexpr size_t kLanes = 16;
inline constexpr size_t kRegisterLanes = HWY_LANES(float) < kLanes ? HWY_LANES(float) : kLanes;
inline constexpr size_t kParts = kLanes / kRegisterLanes;  // registers in one Floats

// Truly fused wherever the table says so; the scalar target takes the library's. NEON of 32 bits has the
// instruction, but takes subnormals for zeros.
#if HWY_TARGET == HWY_NEON && !HWY_ARCH_ARM_A64
inline constexpr bool kFused = false, kSubnormalsAreZeros = true;
#else
inline constexpr bool kFused = HWY_TARGET == HWY_SCALAR || HWY_NATIVE_FMA;
inline constexpr bool kSubnormalsAreZeros = false;
#endif

HWY_INLINE Register Fma(Register a, Register b, Register c) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(FloatTag(), std::fma(hn::GetLane(a), hn::GetLane(b), hn::GetLane(c)));
#else
  return hn::MulAdd(a, b, c);
#endif
}

// a > b ? a : b, as the instructions of x86 decide about NaN and signed zeros; NEON's would differ.
HWY_INLINE Register RegisterMax(Register a, Register b) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  return hn::Max(a, b);
#else
  return hn::IfThenElse(hn::Gt(a, b), a, b);
#endif
}

HWY_INLINE Register RegisterMin(Register a, Register b) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  return hn::Min(a, b);
#else
  return hn::IfThenElse(hn::Lt(a, b), a, b);
#endif
}

// NEON of 32 bits only approximates quotients and roots; the scalar instructions beside it do not.
#if HWY_TARGET == HWY_NEON && !HWY_ARCH_ARM_A64
template <class Function>
HWY_INLINE Register PerLane(Register a, Register b, const Function& function) {
  alignas(16) float x[4], y[4];
  hn::Store(a, FloatTag(), x);
  hn::Store(b, FloatTag(), y);
  for (size_t i = 0; i < 4; ++i) x[i] = function(x[i], y[i]);
  return hn::Load(FloatTag(), x);
}
HWY_INLINE Register RegisterDiv(Register a, Register b) {
  return PerLane(a, b, [](float x, float y) { return x / y; });
}
HWY_INLINE Register RegisterSqrt(Register a) {
  return PerLane(a, a, [](float x, float) { return std::sqrt(x); });
}
#else
HWY_INLINE Register RegisterDiv(Register a, Register b) { return hn::Div(a, b); }
HWY_INLINE Register RegisterSqrt(Register a) { return hn::Sqrt(a); }
#endif

struct Floats {
  Register part[kParts];
};

struct Ints {
  IntRegister part[kParts];
};

// What is done to each register of the result, `i`.
#define THIMBLE_LANEWISE(Result, expression) \
  Result result;                             \
  THIMBLE_UNROLL                             \
  for (size_t i = 0; i < kParts; ++i) {      \
    result.part[i] = expression;             \
  }                                          \
  return result

HWY_INLINE Floats Broadcast(float x) { THIMBLE_LANEWISE(Floats, hn::Set(FloatTag(), x)); }
HWY_INLINE Floats Zeros() { THIMBLE_LANEWISE(Floats, hn::Zero(FloatTag())); }

HWY_INLINE Floats Fma(const Floats& a, const Floats& b, const Floats& c) {
  THIMBLE_LANEWISE(Floats, Fma(a.part[i], b.part[i], c.part[i]));
}
HWY_INLINE Floats Add(const Floats& a, const Floats& b) {
  THIMBLE_LANEWISE(Floats, hn::Add(a.part[i], b.part[i]));
}
HWY_INLINE Floats Sub(const Floats& a, const Floats& b) {
  THIMBLE_LANEWISE(Floats, hn::Sub(a.part[i], b.part[i]));
}
HWY_INLINE Floats Mul(const Floats& a, const Floats& b) {
  THIMBLE_LANEWISE(Floats, hn::Mul(a.part[i], b.part[i]));
}
HWY_INLINE Floats Div(const Floats& a, const Floats& b) {
  THIMBLE_LANEWISE(Floats, RegisterDiv(a.part[i], b.part[i]));
}
HWY_INLINE Floats Max(const Floats& a, const Floats& b) {
  THIMBLE_LANEWISE(Floats, RegisterMax(a.part[i], b.part[i]));
}
HWY_INLINE Floats Min(const Floats& a, const Floats& b) {
  THIMBLE_LANEWISE(Floats, RegisterMin(a.part[i], b.part[i]));
}
HWY_INLINE Floats Sqrt(const Floats& a) { THIMBLE_LANEWISE(Floats, RegisterSqrt(a.part[i])); }
HWY_INLINE Floats Abs(const Floats& a) { THIMBLE_LANEWISE(Floats, hn::Abs(a.part[i])); }

HWY_INLINE Floats ZeroIfNan(const Floats& a) {
  THIMBLE_LANEWISE(Floats, hn::IfThenElseZero(hn::Eq(a.part[i], a.part[i]), a.part[i]));
}

// |magnitude| with the sign bit of `sign`.
HWY_INLINE Floats CopySign(const Floats& magnitude, const Floats& sign) {
  THIMBLE_LANEWISE(Floats, hn::CopySign(magnitude.part[i], sign.part[i]));
}

// a < b ? yes : no; a comparison with NaN is false.
HWY_INLINE Floats SelectLess(const Floats& a, const Floats& b, const Floats& yes,
                             const Floats& no) {
  THIMBLE_LANEWISE(Floats, hn::IfThenElse(hn::Lt(a.part[i], b.part[i]), yes.part[i], no.part[i]));
}

HWY_INLINE Ints BitsOf(const Floats& a) {
  THIMBLE_LANEWISE(Ints, hn::BitCast(IntTag(), a.part[i]));
}
HWY_INLINE Floats FloatsOf(const Ints& a) {
  THIMBLE_LANEWISE(Floats, hn::BitCast(FloatTag(), a.part[i]));
}
HWY_INLINE Ints Add(const Ints& a, const Ints& b) {
  THIMBLE_LANEWISE(Ints, hn::Add(a.part[i], b.part[i]));
}
HWY_INLINE Ints Sub(const Ints& a, const Ints& b) {
  THIMBLE_LANEWISE(Ints, hn::Sub(a.part[i], b.part[i]));
}
HWY_INLINE Ints And(const Ints& a, const Ints& b) {
  THIMBLE_LANEWISE(Ints, hn::And(a.part[i], b.part[i]));
}
HWY_INLINE Ints Xor(const Ints& a, const Ints& b) {
  THIMBLE_LANEWISE(Ints, hn::Xor(a.part[i], b.part[i]));
}
// The low 32 bits of the product.
HWY_INLINE Ints Mul(const Ints& a, const Ints& b) {
  const UnsignedTag d;
  THIMBLE_LANEWISE(
      Ints, hn::BitCast(IntTag(), hn::Mul(hn::BitCast(d, a.part[i]), hn::BitCast(d, b.part[i]))));
}
HWY_INLINE Ints Max(const Ints& a, const Ints& b) {
  THIMBLE_LANEWISE(Ints, hn::Max(a.part[i], b.part[i]));
}
// To nearest, ties to even, for floats within int32.

// Ties to even, of numbers in [-2^22, 2^22].
HWY_INLINE Ints RoundToInts(const Floats& a) {
#if HWY_TARGET == HWY_WASM
  // A conversion that saturates is ten instructions in an engine's code; from 1.5 * 2^23 on, floats are the integers.
  const auto shift = hn::Set(FloatTag(), 0x1.8p23f);
  THIMBLE_LANEWISE(Ints, hn::Sub(hn::BitCast(IntTag(), hn::Add(a.part[i], shift)),
                                 hn::BitCast(IntTag(), shift)));
#else
  THIMBLE_LANEWISE(Ints, hn::NearestInt(a.part[i]));
#endif
}
HWY_INLINE Ints BroadcastInt(int32_t x) { THIMBLE_LANEWISE(Ints, hn::Set(IntTag(), x)); }
template <int kBits>
HWY_INLINE Ints ShiftLeft(const Ints& a) {
  THIMBLE_LANEWISE(Ints, hn::ShiftLeft<kBits>(a.part[i]));
}
template <int kBits>
HWY_INLINE Ints ShiftRightSigned(const Ints& a) {
  THIMBLE_LANEWISE(Ints, hn::ShiftRight<kBits>(a.part[i]));
}

// Zeros come in from above.
template <int kBits>
HWY_INLINE Ints ShiftRight(const Ints& a) {
  const UnsignedTag d;
  THIMBLE_LANEWISE(Ints, hn::BitCast(IntTag(), hn::ShiftRight<kBits>(hn::BitCast(d, a.part[i]))));
}
// a < b ? yes : no
HWY_INLINE Ints SelectLess(const Ints& a, const Ints& b, const Ints& yes, const Ints& no) {
  THIMBLE_LANEWISE(Ints, hn::IfThenElse(hn::Lt(a.part[i], b.part[i]), yes.part[i], no.part[i]));
}

HWY_INLINE Ints Load(const int32_t* HWY_RESTRICT p) {
  THIMBLE_LANEWISE(Ints, hn::LoadU(IntTag(), p + i * kRegisterLanes));
}
HWY_INLINE void Store(const Ints& a, int32_t* HWY_RESTRICT p) {
  THIMBLE_UNROLL
  for (size_t i = 0; i < kParts; ++i) hn::StoreU(a.part[i], IntTag(), p + i * kRegisterLanes);
}

HWY_INLINE Floats Load(const float* HWY_RESTRICT p) {
  THIMBLE_LANEWISE(Floats, hn::LoadU(FloatTag(), p + i * kRegisterLanes));
}

HWY_INLINE void Store(const Floats& a, float* HWY_RESTRICT p) {
  THIMBLE_UNROLL
  for (size_t i = 0; i < kParts; ++i) hn::StoreU(a.part[i], FloatTag(), p + i * kRegisterLanes);
}

// The first n <= 16 lanes from memory, nothing beyond touched; the others are zero.
HWY_INLINE Floats LoadFirst(const float* HWY_RESTRICT p, size_t n) {
#if HWY_CAP_GE256
  const FloatTag d;
  THIMBLE_LANEWISE(
      Floats, hn::MaskedLoad(hn::FirstN(d, n > i * kRegisterLanes
                                               ? HWY_MIN(n - i * kRegisterLanes, kRegisterLanes)
                                               : 0),
                             d, p + i * kRegisterLanes));
#else
  alignas(64) float lanes[kLanes] = {};
  std::memcpy(lanes, p, n * sizeof(float));
  return Load(lanes);
#endif
}

HWY_INLINE void StoreFirst(const Floats& a, float* HWY_RESTRICT p, size_t n) {
#if HWY_CAP_GE256
  const FloatTag d;
  THIMBLE_UNROLL
  for (size_t i = 0; i < kParts; ++i) {
    const size_t here =
        n > i * kRegisterLanes ? HWY_MIN(n - i * kRegisterLanes, kRegisterLanes) : 0;
    hn::BlendedStore(a.part[i], hn::FirstN(d, here), d, p + i * kRegisterLanes);
  }
#else
  alignas(64) float lanes[kLanes];
  Store(a, lanes);
  std::memcpy(p, lanes, n * sizeof(float));
#endif
}

// The first n lanes of a; `other` in the rest.
HWY_INLINE Floats KeepFirst(const Floats& a, size_t n, const Floats& other) {
  alignas(64) static constexpr float kNumbers[kLanes] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                         8, 9, 10, 11, 12, 13, 14, 15};
  return SelectLess(Load(kNumbers), Broadcast(static_cast<float>(n)), a, other);
}

// Calls body(lanes, load, store) for each 16 elements of a row, then for the rest with fewer lanes;
// load(p) and store(v, p) take pointers to the first element of a row.
template <class Body>
HWY_INLINE void ForEachLanes(size_t width, const Body& body) {
  size_t at = 0;
  for (; at + kLanes <= width; at += kLanes) {
    body(
        kLanes, [at](const float* p) HWY_ATTR { return Load(p + at); },
        [at](const Floats& v, float* p) HWY_ATTR { Store(v, p + at); });
  }
  if (const size_t rest = width - at; rest != 0) {
    body(
        rest, [at, rest](const float* p) HWY_ATTR { return LoadFirst(p + at, rest); },
        [at, rest](const Floats& v, float* p) HWY_ATTR { StoreFirst(v, p + at, rest); });
  }
}

// Lanes i and i + 8, then + 4, + 2, + 1.
template <class Combine>
HWY_INLINE float Fold(Floats a, const Combine& combine) {
  THIMBLE_UNROLL
  for (size_t half = kParts / 2; half > 0; half /= 2) {
    THIMBLE_UNROLL
    for (size_t i = 0; i < half; ++i) a.part[i] = combine(a.part[i], a.part[i + half]);
  }
#if HWY_TARGET == HWY_SCALAR
  return hn::GetLane(a.part[0]);
#else
#if HWY_CAP_GE512
  const hn::FixedTag<float, 4> d4;
  const hn::FixedTag<float, 8> d8;
  const auto eight = combine(hn::LowerHalf(d8, a.part[0]), hn::UpperHalf(d8, a.part[0]));
  const auto four = combine(hn::LowerHalf(d4, eight), hn::UpperHalf(d4, eight));
#elif HWY_CAP_GE256
  const hn::FixedTag<float, 4> d4;
  const auto four = combine(hn::LowerHalf(d4, a.part[0]), hn::UpperHalf(d4, a.part[0]));
#else
  const auto four = a.part[0];
#endif
  const auto two = combine(four, hn::Shuffle1032(four));
  return hn::GetLane(combine(two, hn::Shuffle2301(two)));
#endif
}

HWY_INLINE float FoldSum(const Floats& a) {
  return Fold(a, [](auto x, auto y) HWY_ATTR { return hn::Add(x, y); });
}

// NaN or not depends on where a NaN lies, but on that alone.
HWY_INLINE float FoldMax(const Floats& a) {
  return Fold(a, [](auto x, auto y) HWY_ATTR { return hn::IfThenElse(hn::Gt(x, y), x, y); });
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
