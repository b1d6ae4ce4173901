// int8 products on the tile unit (AMX): a panel is its weight operand as it lies.
//
// Many rows: two tiles of rows by two panels; few rows: one tile of exactly these rows by four
// panels. Either keeps four products in flight, which covers their latency of 52 cycles at one
// in 16.
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

// Tiles 0 to 3 sum, 4 and 5 hold inputs, and so does nothing else: from `weights` on they hold
// weights. Set up and given back (_tile_release) within one call, some 50 ns: no thread carries
// tile state into a context switch, and nobody else's configuration is in the way.
THIMBLE_AMX HWY_INLINE void ConfigureAmx(size_t input_rows, size_t weights) {
  AmxConfig config;
  for (size_t tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = kInputBlock;
    config.rows[tile] = static_cast<uint8_t>(tile < weights ? input_rows : kAmxRows);
  }
  // Not the intrinsic: GCC 12's tells the compiler of the first eight bytes only.
  __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

// Which lines of the next two panels one call brings to the second-level cache, in every step.
struct AmxAhead {
  size_t first, lines;
};

// Tiles 0 to 3 = 17 to 32 rows by one or two panels. The lower tiles of rows share rows with the
// upper where there are fewer than 32.
THIMBLE_AMX HWY_INLINE void SumAmxWide(const LinearInt8Args& args, const TilePlace& place,
                                       const AmxAhead& ahead) {
  const size_t panel_bytes = Int8PanelBytes(args.inputs), stride = args.a_stride;
  const int8_t* upper = args.a + place.row * stride;
  const int8_t* lower = upper + (place.rows - kAmxRows) * stride;
  const int8_t* left = args.weight + place.col / kPanelWidth * panel_bytes;
  const int8_t* right = place.cols > kPanelWidth ? left + panel_bytes : left;
  const int8_t* next = left + 2 * panel_bytes + ahead.first * kInputBlock;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (size_t k = 0; k < args.inputs; k += kInputBlock) {
    _tile_loadd(6, left, kInputBlock);
    _tile_loadd(4, upper + k, stride);
    _tile_loadd(7, right, kInputBlock);
    _tile_loadd(5, lower + k, stride);
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
    left += kAmxPanelStep;
    right += kAmxPanelStep;
    for (size_t line = 0; line < ahead.lines; ++line) {
      constexpr int kSecondLevel = 2;
      __builtin_prefetch(next + line * kInputBlock, 0, kSecondLevel);
    }
    next += 2 * kAmxPanelStep;
  }
}

// Tiles 0 to 3 = up to 16 rows by up to four panels.
THIMBLE_AMX HWY_INLINE void SumAmxNarrow(const LinearInt8Args& args, const TilePlace& place) {
  const size_t panel_bytes = Int8PanelBytes(args.inputs), stride = args.a_stride;
  const int8_t* a = args.a + place.row * stride;
  const int8_t* w = args.weight + place.col / kPanelWidth * panel_bytes;
  const size_t panels = (place.cols + kPanelWidth - 1) / kPanelWidth;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (size_t k = 0; k < args.inputs; k += kInputBlock) {
    _tile_loadd(4, a + k, stride);
    _tile_loadd(5, w, kInputBlock);
    _tile_dpbssd(0, 4, 5);
    if (panels > 1) {
      _tile_loadd(6, w + panel_bytes, kInputBlock);
      _tile_dpbssd(1, 4, 6);
    }
    if (panels > 2) {
      _tile_loadd(7, w + 2 * panel_bytes, kInputBlock);
      _tile_dpbssd(2, 4, 7);
    }
    if (panels > 3) {
      _tile_loadd(5, w + 3 * panel_bytes, kInputBlock);
      _tile_dpbssd(3, 4, 5);
    }
    w += kAmxPanelStep;
  }
}

// The sums of one place wait in a buffer until the products of the next are under way, so that the
// vector units finish one while the tile unit works on the other.
class AmxSums {
 public:
  explicit AmxSums(const LinearInt8Args& args) : args_(args) {}

  void FinishPrevious() {
    if (place_.rows != 0) FinishSums(args_, place_, sums_, stride_);
  }

  THIMBLE_AMX HWY_INLINE void TakeWide(const TilePlace& place) {
    place_ = place, stride_ = 2 * kPanelWidth;
    constexpr size_t kBytes = 2 * kPanelWidth * sizeof(int32_t);
    int32_t* lower = sums_ + (place.rows - kAmxRows) * stride_;
    _tile_stored(0, sums_, kBytes);
    _tile_stored(1, sums_ + kPanelWidth, kBytes);
    _tile_stored(2, lower, kBytes);
    _tile_stored(3, lower + kPanelWidth, kBytes);
  }

  THIMBLE_AMX HWY_INLINE void TakeNarrow(const TilePlace& place) {
    place_ = place, stride_ = 4 * kPanelWidth;
    constexpr size_t kBytes = 4 * kPanelWidth * sizeof(int32_t);
    _tile_stored(0, sums_, kBytes);
    _tile_stored(1, sums_ + kPanelWidth, kBytes);
    _tile_stored(2, sums_ + 2 * kPanelWidth, kBytes);
    _tile_stored(3, sums_ + 3 * kPanelWidth, kBytes);
  }

 private:
  alignas(64) int32_t sums_[4 * kAmxRows * kPanelWidth];
  size_t stride_ = 0;
  TilePlace place_ = {};
  const LinearInt8Args& args_;
};

// Weights are the outer loop: the blocks of rows share the work of fetching the next.
THIMBLE_AMX HWY_INLINE void MultiplyAmxWide(const LinearInt8Args& args, size_t rows,
                                            AmxSums& sums) {
  constexpr size_t kRows = 2 * kAmxRows, kCols = 2 * kPanelWidth;
  const size_t blocks = (rows + kRows - 1) / kRows;
  const size_t share = (2 * kPanelWidth + blocks - 1) / blocks;
  ConfigureAmx(kAmxRows, 6);
  for (size_t col = 0; col < args.cols; col += kCols) {
    const size_t cols = std::min(kCols, args.cols - col);
    const size_t lines = col + kCols < args.cols ? share : 0;
    for (size_t row = 0, fetched = 0; row < rows; row += kRows, fetched += lines) {
      const TilePlace place{row, col, std::min(kRows, rows - row), cols};
      SumAmxWide(args, place, {fetched, lines});
      sums.FinishPrevious();
      sums.TakeWide(place);
    }
  }
}

THIMBLE_AMX HWY_INLINE void MultiplyAmxNarrow(const LinearInt8Args& args, size_t first,
                                              AmxSums& sums) {
  constexpr size_t kCols = 4 * kPanelWidth;
  const size_t rows = args.rows - first;
  ConfigureAmx(rows, 5);
  for (size_t col = 0; col < args.cols; col += kCols) {
    const TilePlace place{first, col, rows, std::min(kCols, args.cols - col)};
    SumAmxNarrow(args, place);
    sums.FinishPrevious();
    sums.TakeNarrow(place);
  }
}

// Pairs of tiles while more than 16 rows are left, then the rest.
THIMBLE_AMX inline void LinearInt8Amx(const LinearInt8Args& args) noexcept {
  const size_t rest = args.rows % (2 * kAmxRows);
  const size_t wide_rows = rest <= kAmxRows ? args.rows - rest : args.rows;
  AmxSums sums(args);
  if (wide_rows > 0) MultiplyAmxWide(args, wide_rows, sums);
  if (wide_rows < args.rows) MultiplyAmxNarrow(args, wide_rows, sums);
  _tile_release();
  sums.FinishPrevious();
}

#undef THIMBLE_AMX

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();
#endif  // HWY_AVX3

#endif  // per-target guard
