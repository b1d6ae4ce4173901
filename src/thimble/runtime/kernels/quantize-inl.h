// Quantization of rows of activations.
#if defined(THIMBLE_RUNTIME_KERNELS_QUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_QUANTIZE_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_QUANTIZE_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_QUANTIZE_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "thimble/base/bit_cast.h"
#include "thimble/graph/panels.h"
#include "thimble/runtime/kernels/kernels.h"
#include "thimble/runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

inline constexpr size_t kQuantizedBlock = 64;

// The bits of the largest magnitude of a row. As integers, magnitudes compare as numbers do, and
// NaN above infinity.
HWY_INLINE uint32_t LargestMagnitude(const float* HWY_RESTRICT x, size_t width) {
  const Ints no_sign = BroadcastInt(0x7FFFFFFF);
  Ints largest[4] = {BroadcastInt(0), BroadcastInt(0), BroadcastInt(0), BroadcastInt(0)};
  size_t at = 0;
  for (; at + 4 * kLanes <= width; at += 4 * kLanes) {
    THIMBLE_UNROLL
    for (size_t i = 0; i < 4; ++i) {
      largest[i] = Max(largest[i], And(BitsOf(Load(x + at + i * kLanes)), no_sign));
    }
  }
  for (; at < width; at += kLanes) {
    const Floats v = at + kLanes <= width ? Load(x + at) : LoadFirst(x + at, width - at);
    largest[0] = Max(largest[0], And(BitsOf(v), no_sign));
  }
  const Ints all = Max(Max(largest[0], largest[1]), Max(largest[2], largest[3]));
  IntRegister folded = all.part[0];
  THIMBLE_UNROLL
  for (size_t i = 1; i < kParts; ++i) folded = hn::Max(folded, all.part[i]);
  return static_cast<uint32_t>(hn::GetLane(hn::MaxOfLanes(IntTag(), folded)));
}

// 64 integers in [-127, 127] to bytes.
HWY_INLINE void StoreBytes(const Ints (&v)[4], int8_t* HWY_RESTRICT q) {
#if HWY_TARGET == HWY_AVX3
  // Packing works within lanes of 128 bits; the permutation puts the pieces in order again.
  const __m512i low = _mm512_packs_epi32(v[0].part[0].raw, v[1].part[0].raw);
  const __m512i high = _mm512_packs_epi32(v[2].part[0].raw, v[3].part[0].raw);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_store_si512(q, _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high)));
#elif HWY_TARGET == HWY_AVX2
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (size_t i = 0; i < 2; ++i) {
    const __m256i low = _mm256_packs_epi32(v[2 * i].part[0].raw, v[2 * i].part[1].raw);
    const __m256i high = _mm256_packs_epi32(v[2 * i + 1].part[0].raw, v[2 * i + 1].part[1].raw);
    _mm256_store_si256(reinterpret_cast<__m256i*>(q) + i,
                       _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order));
  }
#elif HWY_TARGET == HWY_WASM
  THIMBLE_UNROLL
  for (size_t i = 0; i < 4; ++i) {
    const v128_t low = wasm_i16x8_narrow_i32x4(v[i].part[0].raw, v[i].part[1].raw);
    const v128_t high = wasm_i16x8_narrow_i32x4(v[i].part[2].raw, v[i].part[3].raw);
    wasm_v128_store(q + i * kLanes, wasm_i8x16_narrow_i16x8(low, high));
  }
#else
  const hn::Rebind<int8_t, IntTag> d;
  for (size_t i = 0; i < 4; ++i) {
    for (size_t part = 0; part < kParts; ++part) {
      hn::StoreU(hn::DemoteTo(d, v[i].part[part]), d, q + i * kLanes + part * kRegisterLanes);
    }
  }
#endif
}

// A row's codes, `code` applied to 16 values at a time.
template <class Code>
HWY_INLINE void QuantizeWith(const float* HWY_RESTRICT x, size_t width, int8_t* HWY_RESTRICT q,
                             const Code& code) {
  size_t at = 0;
  for (; at + kQuantizedBlock <= width; at += kQuantizedBlock) {
    Ints v[4];
    THIMBLE_UNROLL
    for (size_t i = 0; i < 4; ++i) v[i] = code(Load(x + at + i * kLanes));
    StoreBytes(v, q + at);
  }
  if (at == width) return;
  Ints v[4];
  for (size_t i = 0; i < 4; ++i) {
    const size_t here = at + i * kLanes;
    v[i] =
        here >= width ? BroadcastInt(0) : code(LoadFirst(x + here, std::min(kLanes, width - here)));
  }
  StoreBytes(v, q + at);
}

HWY_INLINE void QuantizeFinite(const float* HWY_RESTRICT x, size_t width, float factor,
                               int8_t* HWY_RESTRICT q) {
  const Floats by = Broadcast(factor);
  QuantizeWith(x, width, q, [&by](const Floats& v) HWY_ATTR { return RoundToInts(Mul(v, by)); });
}

// By a factor that was not made for the row: what lies beyond saturates, NaN becomes 0.
HWY_INLINE void QuantizeSaturating(const float* HWY_RESTRICT x, size_t width, float factor,
                                   int8_t* HWY_RESTRICT q) {
  const Floats by = Broadcast(factor), most = Broadcast(127.0f), least = Broadcast(-127.0f);
  QuantizeWith(x, width, q, [&](const Floats& v) HWY_ATTR {
    return RoundToInts(Min(Max(ZeroIfNan(Mul(v, by)), least), most));
  });
}

// The rule of QuantizeArgs for rows with infinities, NaN, or so small that the factor is infinite or values may be lost.
HWY_NOINLINE inline float QuantizeSpecial(const float* x, size_t width, int8_t* q) {
  float largest = 0;
  for (size_t i = 0; i < width; ++i) {
    if (std::fabs(x[i]) > largest) largest = std::fabs(x[i]);  // NaN is not larger
  }
  const float factor = 127.0f / largest;
  for (size_t i = 0; i < width; ++i) {
    const float y = std::isinf(x[i]) ? x[i] : x[i] * factor;
    q[i] = std::isnan(y) ? int8_t{0}
                         : static_cast<int8_t>(std::nearbyint(std::clamp(y, -127.0f, 127.0f)));
  }
  std::fill(q + width, q + RoundUp(width, kQuantizedBlock), int8_t{0});
  return largest;
}

// Gives the row's largest finite or infinite magnitude.
HWY_INLINE float QuantizeRow(const float* x, size_t width, uint32_t magnitude, int8_t* q) {
  constexpr uint32_t kInfinity = 0x7F800000;
  const float largest = BitCast<float>(magnitude), factor = 127.0f / largest;
  // Where subnormals are zeros: below this largest magnitude they have codes other than 0.
  const bool loses = kSubnormalsAreZeros && largest < 0x1p-118f;
  if (magnitude >= kInfinity || std::isinf(factor) || loses) return QuantizeSpecial(x, width, q);
  QuantizeFinite(x, width, factor, q);
  return largest;
}

// Rows go through in small blocks: finding the largest of one hides the latency of folding another,
// and they are still in the first-level cache when they are read again.
inline void QuantizeRows(const QuantizeArgs& args) noexcept {
  if (args.scale != 0) {
    const float factor = 1.0f / args.scale;
    for (size_t r = 0; r < args.rows; ++r) {
      QuantizeSaturating(args.x + r * args.x_stride, args.width, factor,
                         args.q + r * args.q_stride);
    }
    std::fill(args.scales, args.scales + args.rows, args.scale);
    return;
  }
  constexpr size_t kMaxRows = 8, kCachedFloats = 4096;
  const size_t block = std::clamp<size_t>(kCachedFloats / (args.width + 1), 1, kMaxRows);
  for (size_t first = 0; first < args.rows; first += block) {
    const size_t rows = std::min(block, args.rows - first);
    const float* x = args.x + first * args.x_stride;
    uint32_t magnitudes[kMaxRows];
    for (size_t r = 0; r < rows; ++r) {
      magnitudes[r] = LargestMagnitude(x + r * args.x_stride, args.width);
    }
    for (size_t r = 0; r < rows; ++r) {
      int8_t* q = args.q + (first + r) * args.q_stride;
      args.scales[first + r] =
          QuantizeRow(x + r * args.x_stride, args.width, magnitudes[r], q) / 127.0f;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
