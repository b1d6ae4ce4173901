// The innermost step of an int8 product on each instruction set: 16 sums, four products more each.
//
// A step is a type with
//
//   Register, kRegisters     16 / kRegisters sums in one register
//   Weights, LoadWeights(p)  kPanelInputGroup inputs of one register's outputs, made ready
//   Inputs, LoadInputs(p)    the same inputs of one row, for all outputs
//   Dot(sum, weights, inputs), Start(value), Add(sum, sum), Store(sum, to)
//   kShifted                 weights count as weight + 128: sums start at -128 * (sum of inputs)
//   kRows, kPanels           the tile that measures best (docs/int8.md)
//
// All are exact for operands in [-127, 127]. Where unsigned bytes are multiplied by signed ones,
// DotInt8::NonNegative is a step for inputs in [0, 127] that leaves the detour by signs out.
#if defined(THIMBLE_RUNTIME_KERNELS_DOT_INT8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_DOT_INT8_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_DOT_INT8_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_DOT_INT8_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "thimble/graph/panels.h"
#include "thimble/runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

HWY_INLINE int32_t LoadGroup(const int8_t* p) {
  int32_t group;
  std::memcpy(&group, p, sizeof(group));
  return group;
}

#if HWY_TARGET == HWY_AVX3

// maddubs adds pairs of unsigned times signed bytes into 16 bits: |w| times a with w's sign is at
// most 2 * 127 * 127 and cannot saturate.
struct DotInt8 {
  using Register = __m512i;
  static constexpr size_t kRegisters = 1, kRows = 8, kPanels = 2;
  static constexpr bool kShifted = false;
  struct Weights {
    __m512i magnitude;
    __mmask64 negative;
  };
  using Inputs = __m512i;

  static HWY_INLINE Register Start(int32_t value) { return _mm512_set1_epi32(value); }
  static HWY_INLINE Weights LoadWeights(const int8_t* p) {
    const __m512i w = _mm512_loadu_si512(p);
    return {_mm512_abs_epi8(w), _mm512_movepi8_mask(w)};
  }
  static HWY_INLINE Inputs LoadInputs(const int8_t* p) { return _mm512_set1_epi32(LoadGroup(p)); }
  static HWY_INLINE Register Dot(Register sum, const Weights& w, Inputs a) {
    const __m512i signed_a = _mm512_mask_sub_epi8(a, w.negative, _mm512_setzero_si512(), a);
    const __m512i pairs = _mm512_maddubs_epi16(w.magnitude, signed_a);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
  static HWY_INLINE Register Add(Register a, Register b) { return _mm512_add_epi32(a, b); }
  static HWY_INLINE void Store(Register sum, int32_t* to) { _mm512_store_si512(to, sum); }
  struct NonNegative;
};

struct DotInt8::NonNegative : DotInt8 {
  using Weights = __m512i;

  static HWY_INLINE Weights LoadWeights(const int8_t* p) { return _mm512_loadu_si512(p); }
  static HWY_INLINE Register Dot(Register sum, Weights w, Inputs a) {
    const __m512i pairs = _mm512_maddubs_epi16(a, w);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
};

// The instruction is spelled out because this target's functions are compiled without it: they
// share everything around it with processors that do not have it.
struct DotInt8Vnni : DotInt8 {
  using NonNegative = void;  // nothing to leave out
  static constexpr bool kShifted = true;
  using Weights = __m512i;

  static HWY_INLINE Weights LoadWeights(const int8_t* p) {
    return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(-128));
  }
  static HWY_INLINE Register Dot(Register sum, Weights w, Inputs a) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(a));
    return sum;
  }
};

#elif HWY_TARGET == HWY_AVX2

struct DotInt8 {
  using Register = __m256i;
  static constexpr size_t kRegisters = 2, kRows = 6, kPanels = 1;
  static constexpr bool kShifted = false;
  struct Weights {
    __m256i value, magnitude;
  };
  using Inputs = __m256i;

  static HWY_INLINE Register Start(int32_t value) { return _mm256_set1_epi32(value); }
  static HWY_INLINE Weights LoadWeights(const int8_t* p) {
    const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {w, _mm256_abs_epi8(w)};
  }
  static HWY_INLINE Inputs LoadInputs(const int8_t* p) { return _mm256_set1_epi32(LoadGroup(p)); }
  // As on AVX-512: |w| times a with w's sign cannot saturate.
  static HWY_INLINE Register Dot(Register sum, const Weights& w, Inputs a) {
    const __m256i pairs = _mm256_maddubs_epi16(w.magnitude, _mm256_sign_epi8(a, w.value));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static HWY_INLINE Register Add(Register a, Register b) { return _mm256_add_epi32(a, b); }
  static HWY_INLINE void Store(Register sum, int32_t* to) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), sum);
  }
  struct NonNegative;
};

struct DotInt8::NonNegative : DotInt8 {
  using Weights = __m256i;

  static HWY_INLINE Weights LoadWeights(const int8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static HWY_INLINE Register Dot(Register sum, Weights w, Inputs a) {
    const __m256i pairs = _mm256_maddubs_epi16(a, w);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

struct DotInt8Vnni : DotInt8 {
  using NonNegative = void;  // nothing to leave out
  static constexpr bool kShifted = true;
  using Weights = __m256i;

  static HWY_INLINE Weights LoadWeights(const int8_t* p) {
    return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
                            _mm256_set1_epi8(-128));
  }
  static HWY_INLINE Register Dot(Register sum, Weights w, Inputs a) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(w), "x"(a));
    return sum;
  }
};

#elif HWY_TARGET == HWY_SSE4

struct DotInt8 {
  using Register = __m128i;
  static constexpr size_t kRegisters = 4, kRows = 2, kPanels = 1;
  static constexpr bool kShifted = false;
  struct Weights {
    __m128i value, magnitude;
  };
  using Inputs = __m128i;

  static HWY_INLINE Register Start(int32_t value) { return _mm_set1_epi32(value); }
  static HWY_INLINE Weights LoadWeights(const int8_t* p) {
    const __m128i w = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {w, _mm_abs_epi8(w)};
  }
  static HWY_INLINE Inputs LoadInputs(const int8_t* p) { return _mm_set1_epi32(LoadGroup(p)); }
  // As on AVX-512: |w| times a with w's sign cannot saturate.
  static HWY_INLINE Register Dot(Register sum, const Weights& w, Inputs a) {
    const __m128i pairs = _mm_maddubs_epi16(w.magnitude, _mm_sign_epi8(a, w.value));
    return _mm_add_epi32(sum, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
  }
  static HWY_INLINE Register Add(Register a, Register b) { return _mm_add_epi32(a, b); }
  static HWY_INLINE void Store(Register sum, int32_t* to) {
    _mm_store_si128(reinterpret_cast<__m128i*>(to), sum);
  }
  struct NonNegative;
};

struct DotInt8::NonNegative : DotInt8 {
  using Weights = __m128i;

  static HWY_INLINE Weights LoadWeights(const int8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  static HWY_INLINE Register Dot(Register sum, Weights w, Inputs a) {
    const __m128i pairs = _mm_maddubs_epi16(a, w);
    return _mm_add_epi32(sum, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
  }
};

#elif HWY_TARGET == HWY_NEON

// Products of 8 bits add in pairs within 16 bits (2 * 127 * 127), then in pairs into the sums.
struct DotInt8 {
  using Register = int32x4_t;
  static constexpr size_t kRegisters = 4, kRows = HWY_ARCH_ARM_A64 ? 4 : 2, kPanels = 1;
  static constexpr bool kShifted = false;
  using Weights = int8x16_t;
  using Inputs = int8x16_t;
  using NonNegative = void;

  static HWY_INLINE Register Start(int32_t value) { return vdupq_n_s32(value); }
  static HWY_INLINE Weights LoadWeights(const int8_t* p) { return vld1q_s8(p); }
  static HWY_INLINE Inputs LoadInputs(const int8_t* p) {
    return vreinterpretq_s8_s32(vdupq_n_s32(LoadGroup(p)));
  }
  static HWY_INLINE Register Dot(Register sum, Weights w, Inputs a) {
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(a));
#if HWY_ARCH_ARM_A64
    const int16x8_t high = vmull_high_s8(w, a);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
#else
    const int16x8_t high = vmull_s8(vget_high_s8(w), vget_high_s8(a));
    return vpadalq_s16(sum, vcombine_s16(vpadd_s16(vget_low_s16(low), vget_high_s16(low)),
                                         vpadd_s16(vget_low_s16(high), vget_high_s16(high))));
#endif
  }
  static HWY_INLINE Register Add(Register a, Register b) { return vaddq_s32(a, b); }
  static HWY_INLINE void Store(Register sum, int32_t* to) { vst1q_s32(to, sum); }
};

#elif HWY_TARGET == HWY_WASM

// Products of 16 bits that are added in pairs: of a group's inputs the first with the third, the second with the fourth,
// which are the low and the high bytes of its two halves.
struct DotInt8 {
  using Register = v128_t;
  static constexpr size_t kRegisters = 4, kRows = 2, kPanels = 1;
  static constexpr bool kShifted = false;
  struct Weights {
    v128_t even, odd;
  };
  using Inputs = Weights;
  using NonNegative = void;

  static HWY_INLINE Weights Widen(v128_t bytes) {
    return {wasm_i16x8_shr(wasm_i16x8_shl(bytes, 8), 8), wasm_i16x8_shr(bytes, 8)};
  }
  static HWY_INLINE Register Start(int32_t value) { return wasm_i32x4_splat(value); }
  static HWY_INLINE Weights LoadWeights(const int8_t* p) { return Widen(wasm_v128_load(p)); }
  static HWY_INLINE Inputs LoadInputs(const int8_t* p) { return Widen(wasm_v128_load32_splat(p)); }
  static HWY_INLINE Register Dot(Register sum, const Weights& w, const Inputs& a) {
    sum = wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(w.even, a.even));
    return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(w.odd, a.odd));
  }
  static HWY_INLINE Register Add(Register a, Register b) { return wasm_i32x4_add(a, b); }
  static HWY_INLINE void Store(Register sum, int32_t* to) { wasm_v128_store(to, sum); }
};

#else

struct DotInt8 {
  using Register = int32_t;
  static constexpr size_t kRegisters = kPanelWidth, kRows = 1, kPanels = 1;
  static constexpr bool kShifted = false;
  using Weights = const int8_t*;
  using Inputs = const int8_t*;
  using NonNegative = void;

  static HWY_INLINE Register Start(int32_t value) { return value; }
  static HWY_INLINE Weights LoadWeights(const int8_t* p) { return p; }
  static HWY_INLINE Inputs LoadInputs(const int8_t* p) { return p; }
  static HWY_INLINE Register Dot(Register sum, Weights w, Inputs a) {
    for (size_t i = 0; i < kPanelInputGroup; ++i) sum += w[i] * a[i];
    return sum;
  }
  static HWY_INLINE Register Add(Register a, Register b) { return a + b; }
  static HWY_INLINE void Store(Register sum, int32_t* to) { *to = sum; }
};

#endif

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
