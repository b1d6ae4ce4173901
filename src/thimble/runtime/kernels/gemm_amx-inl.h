// int8 products on the tile unit (AMX): a panel is its weight operand as it lies.
//
// Many rows: two tiles of rows by two panels; few rows: one tile of exactly these rows by four panels.
// Either keeps four products in flight, which covers their latency of 52 cycles at one in 16.
#if defined(THIMBLE_RUNTIME_KERNELS_GEMM_AMX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_GEMM_AMX_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_GEMM_AMX_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_GEMM_AMX_INL_H_
#endif

#include "thimble/runtime/kernels/gemm_int8-inl.h"

#if HWY_TARGET == HWY_AVX3
HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

#define THIMBLE_AMX __attribute__((target("amx-tile,amx-int8")))

inline constexpr size_t kAmxRows = 16;
inline constexpr size_t kAmxPanelStep = kInputBlock * kPanelWidth;  // bytes of a weight tile
static_assert(kAmxPanelStep <= kPanelGuardBytes);

// What ldtilecfg reads.
struct alignas(64) AmxConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles 0 to 3 sum, 4 and 5 hold inputs, and so does nothing else: from `weights` on they hold weights.
// Set up and given back (_tile_release) within one call, some 50 ns: no thread carries tile state into
// a context switch, and nobody else's configuration is in the way.
THIMBLE_AMX HWY_INLINE void ConfigureAmx(size_t input_rows, size_t weights) {
  AmxConfig config;
  for (size_t tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = kInputBlock;
    config.rows[tile] = static_cast<uint8_t>(tile < weights ? input_rows : kAmxRows);
  }
  // Not the intrinsic: GCC 12's tells the compiler of the first eight bytes only.
  __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

// Rows [first, first + rows) with 17 <= rows <= 32 by one or two panels.
THIMBLE_AMX inline void MultiplyAmxWide(const LinearInt8Args& args, size_t first, size_t rows,
                                        size_t col) {
  alignas(64) int32_t sums[2 * kAmxRows * 2 * kPanelWidth];
  constexpr size_t kSumsStride = 2 * kPanelWidth, kSumsBytes = kSumsStride * sizeof(int32_t);
  const bool two = args.cols - col > kPanelWidth;
  const size_t panel_bytes = Int8PanelBytes(args.inputs), stride = args.a_stride;
  const int8_t* a0 = args.a + first * stride;
  const int8_t* a1 = a0 + (rows - kAmxRows) * stride;  // shares rows with a0 where rows < 32
  const int8_t* w0 = args.weight + col / kPanelWidth * panel_bytes;
  const int8_t* w1 = two ? w0 + panel_bytes : w0;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (size_t k = 0; k < args.inputs; k += kInputBlock) {
    _tile_loadd(6, w0, kInputBlock);
    _tile_loadd(4, a0 + k, stride);
    _tile_loadd(7, w1, kInputBlock);
    _tile_loadd(5, a1 + k, stride);
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
    w0 += kAmxPanelStep;
    w1 += kAmxPanelStep;
  }
  int32_t* lower = sums + (rows - kAmxRows) * kSumsStride;
  _tile_stored(0, sums, kSumsBytes);
  _tile_stored(1, sums + kPanelWidth, kSumsBytes);
  _tile_stored(2, lower, kSumsBytes);
  _tile_stored(3, lower + kPanelWidth, kSumsBytes);
  FinishSums(args, {first, col, rows, std::min(kSumsStride, args.cols - col)}, sums, kSumsStride);
}

// Rows [first, first + rows) with rows <= 16 by up to four panels.
THIMBLE_AMX inline void MultiplyAmxNarrow(const LinearInt8Args& args, size_t first, size_t rows,
                                          size_t col) {
  alignas(64) int32_t sums[kAmxRows * 4 * kPanelWidth];
  constexpr size_t kSumsStride = 4 * kPanelWidth, kSumsBytes = kSumsStride * sizeof(int32_t);
  const size_t cols = std::min(kSumsStride, args.cols - col);
  const size_t panel_bytes = Int8PanelBytes(args.inputs), stride = args.a_stride;
  const int8_t* a = args.a + first * stride;
  const int8_t* w = args.weight + col / kPanelWidth * panel_bytes;
  const bool second = cols > kPanelWidth, third = cols > 2 * kPanelWidth;
  const bool fourth = cols > 3 * kPanelWidth;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (size_t k = 0; k < args.inputs; k += kInputBlock) {
    _tile_loadd(4, a + k, stride);
    _tile_loadd(5, w, kInputBlock);
    _tile_dpbssd(0, 4, 5);
    if (second) {
      _tile_loadd(6, w + panel_bytes, kInputBlock);
      _tile_dpbssd(1, 4, 6);
    }
    if (third) {
      _tile_loadd(7, w + 2 * panel_bytes, kInputBlock);
      _tile_dpbssd(2, 4, 7);
    }
    if (fourth) {
      _tile_loadd(5, w + 3 * panel_bytes, kInputBlock);
      _tile_dpbssd(3, 4, 5);
    }
    w += kAmxPanelStep;
  }
  _tile_stored(0, sums, kSumsBytes);
  _tile_stored(1, sums + kPanelWidth, kSumsBytes);
  _tile_stored(2, sums + 2 * kPanelWidth, kSumsBytes);
  _tile_stored(3, sums + 3 * kPanelWidth, kSumsBytes);
  FinishSums(args, {first, col, rows, cols}, sums, kSumsStride);
}

// Pairs of tiles while more than 16 rows are left, then the rest.
THIMBLE_AMX inline void LinearInt8Amx(const LinearInt8Args& args) noexcept {
  const size_t rest = args.rows % (2 * kAmxRows);
  const size_t narrow = rest <= kAmxRows ? rest : 0, wide = args.rows - narrow;
  if (wide > 0) {
    ConfigureAmx(kAmxRows, 6);
    for (size_t col = 0; col < args.cols; col += 2 * kPanelWidth) {
      for (size_t row = 0; row < wide; row += 2 * kAmxRows) {
        MultiplyAmxWide(args, row, std::min(2 * kAmxRows, wide - row), col);
      }
    }
  }
  if (narrow > 0) {
    ConfigureAmx(narrow, 5);
    for (size_t col = 0; col < args.cols; col += 4 * kPanelWidth) {
      MultiplyAmxNarrow(args, wide, narrow, col);
    }
  }
  _tile_release();
}

#undef THIMBLE_AMX

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();
#endif  // HWY_AVX3

#endif  // per-target guard
