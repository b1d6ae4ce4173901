#include "thimble/targets/peak_loops.h"

#include <cstring>

#include "thimble/runtime/kernels/hwy_targets.h"
#include "thimble/runtime/kernels/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "thimble/targets/peak_loops.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#if HWY_ARCH_X86 && !defined(THIMBLE_PEAK_X86_INCLUDED)
#define THIMBLE_PEAK_X86_INCLUDED
#include <immintrin.h>
#endif

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// More independent chains than latency times issue width, and few enough for 16 registers.
constexpr uint64_t kChains = 12;

uint64_t PeakFloat32(uint64_t steps) {
  const hn::ScalableTag<float> d;
  using V = decltype(hn::Zero(d));
  V acc[kChains];
  for (V& a : acc) a = hn::Zero(d);
  const V x = hn::Set(d, 1.0f), y = hn::Set(d, 1e-7f);
  for (uint64_t s = 0; s < steps; ++s) {
    for (V& a : acc) a = hn::MulAdd(x, y, a);
  }
  V sum = acc[0];
  for (uint64_t i = 1; i < kChains; ++i) sum = hn::Add(sum, acc[i]);
  volatile float sink = hn::GetLane(sum);
  (void)sink;
  return steps * kChains * hn::Lanes(d);
}

#if HWY_TARGET == HWY_AVX3
#define THIMBLE_PEAK_INT8 1
using Int8Vector = __m512i;
HWY_INLINE Int8Vector ZeroInt8() { return _mm512_setzero_si512(); }
HWY_INLINE Int8Vector DotInt8(Int8Vector acc, Int8Vector a, Int8Vector w) {
  asm volatile("" : "+v"(a), "+v"(w));  // or the product would be taken out of the loop
  return _mm512_add_epi32(acc, _mm512_madd_epi16(_mm512_maddubs_epi16(a, w), _mm512_set1_epi16(1)));
}
#elif HWY_TARGET == HWY_AVX2
#define THIMBLE_PEAK_INT8 1
using Int8Vector = __m256i;
HWY_INLINE Int8Vector ZeroInt8() { return _mm256_setzero_si256(); }
HWY_INLINE Int8Vector DotInt8(Int8Vector acc, Int8Vector a, Int8Vector w) {
  asm volatile("" : "+x"(a), "+x"(w));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(a, w), _mm256_set1_epi16(1)));
}
#elif HWY_TARGET == HWY_SSE4
#define THIMBLE_PEAK_INT8 1
using Int8Vector = __m128i;
HWY_INLINE Int8Vector ZeroInt8() { return _mm_setzero_si128(); }
HWY_INLINE Int8Vector DotInt8(Int8Vector acc, Int8Vector a, Int8Vector w) {
  asm volatile("" : "+x"(a), "+x"(w));
  return _mm_add_epi32(acc, _mm_madd_epi16(_mm_maddubs_epi16(a, w), _mm_set1_epi16(1)));
}
#elif HWY_TARGET == HWY_NEON
#define THIMBLE_PEAK_INT8 1
using Int8Vector = int32x4_t;
HWY_INLINE Int8Vector ZeroInt8() { return vdupq_n_s32(0); }
HWY_INLINE Int8Vector DotInt8(Int8Vector acc, Int8Vector a, Int8Vector w) {
  asm volatile("" : "+w"(a), "+w"(w));
  const int8x16_t x = vreinterpretq_s8_s32(a), y = vreinterpretq_s8_s32(w);
  const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(y));
  return vpadalq_s16(acc, vmlal_s8(low, vget_high_s8(x), vget_high_s8(y)));
}
#else
#define THIMBLE_PEAK_INT8 0
#endif

#if THIMBLE_PEAK_INT8
uint64_t PeakInt8(uint64_t steps) {
  Int8Vector acc[kChains];
  for (Int8Vector& a : acc) a = ZeroInt8();
  const Int8Vector x = ZeroInt8(), w = ZeroInt8();
  for (uint64_t s = 0; s < steps; ++s) {
    for (Int8Vector& a : acc) a = DotInt8(a, x, w);
  }
  int32_t words[sizeof(acc) / (sizeof(int32_t))];
  std::memcpy(words, acc, sizeof(acc));
  uint32_t sum = 0;  // of all, or the other chains would be left out
  for (const int32_t word : words) sum += static_cast<uint32_t>(word);
  volatile uint32_t sink = sum;
  (void)sink;
  return steps * kChains * sizeof(Int8Vector);
}
#else
uint64_t PeakInt8(uint64_t) { return 0; }
#endif
#undef THIMBLE_PEAK_INT8

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thimble {
namespace {

// Makes every byte of a result needed, so that what computes it is.
template <class T>
void Use(const T& value) {
  unsigned char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  unsigned sum = 0;
  for (const unsigned char byte : bytes) sum += byte;
  volatile unsigned sink = sum;
  (void)sink;
}

#if HWY_ARCH_X86
__attribute__((target("avx512f,avx512vnni"))) uint64_t PeakAvx512Vnni(uint64_t steps) {
  __m512i acc[12];
  for (__m512i& a : acc) a = _mm512_setzero_si512();
  const __m512i x = _mm512_setzero_si512();
  for (uint64_t s = 0; s < steps; ++s) {
    for (__m512i& a : acc) a = _mm512_dpbusd_epi32(a, x, x);
  }
  Use(acc);
  return steps * sizeof(acc);
}

__attribute__((target("avx2,avxvnni"))) uint64_t PeakAvxVnni(uint64_t steps) {
  __m256i acc[12];
  for (__m256i& a : acc) a = _mm256_setzero_si256();
  const __m256i x = _mm256_setzero_si256();
  for (uint64_t s = 0; s < steps; ++s) {
    for (__m256i& a : acc) a = _mm256_dpbusd_avx_epi32(a, x, x);
  }
  Use(acc);
  return steps * sizeof(acc);
}

// Four accumulators fed by two tiles each side: the largest block that the eight tiles allow.
__attribute__((target("amx-tile,amx-int8"))) uint64_t PeakAmx(uint64_t steps) {
  struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t column_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
  static constexpr TileConfig kConfig;  // in memory: the compiler does not see that it is read
  _tile_loadconfig(&kConfig);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (uint64_t s = 0; s < steps; ++s) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
  return steps * 4 * 16 * 16 * 64;
}
#endif

struct Row {
  std::string_view isa;
  PeakLoop float32, int8;
};

constexpr Row kRows[] = {
#if HWY_TARGETS & HWY_AVX3
    {"avx512_amx", N_AVX3::PeakFloat32, PeakAmx},
    {"avx512_vnni", N_AVX3::PeakFloat32, PeakAvx512Vnni},
    {"avx512", N_AVX3::PeakFloat32, N_AVX3::PeakInt8},
#endif
#if HWY_TARGETS & HWY_AVX2
    {"avx2_vnni", N_AVX2::PeakFloat32, PeakAvxVnni},
    {"avx2", N_AVX2::PeakFloat32, N_AVX2::PeakInt8},
#endif
#if HWY_TARGETS & HWY_SSE4
    {"sse4", N_SSE4::PeakFloat32, N_SSE4::PeakInt8},
#endif
#if HWY_TARGETS & HWY_NEON
    {"neon", N_NEON::PeakFloat32, N_NEON::PeakInt8},
#endif
#if HWY_TARGETS & HWY_WASM
    {"wasm", N_WASM::PeakFloat32, N_WASM::PeakInt8},
#endif
#if HWY_TARGETS & HWY_SCALAR
    {"scalar", N_SCALAR::PeakFloat32, N_SCALAR::PeakInt8},
#endif
};

}  // namespace

PeakLoop FindPeakLoop(MultiplyKind kind, std::string_view isa) {
  if (FindKernels(isa) == nullptr) return nullptr;  // the processor cannot run it
  for (const Row& row : kRows) {
    if (row.isa == isa) return kind == MultiplyKind::kFloat32 ? row.float32 : row.int8;
  }
  return nullptr;
}

}  // namespace thimble
#endif  // HWY_ONCE
