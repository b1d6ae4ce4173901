// Products of float rows with float32 or float16 panels.
//
// A tile of kRows x kPanels * 16 sums stays in registers while all inputs go by; each sum is one
// chain of fused multiply-adds in the order of the inputs. Panels are the outer loop, so that
// weights come from memory once, and the rows of a block stay in the second-level cache.
#if defined(THIMBLE_RUNTIME_KERNELS_GEMM_FLOAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_GEMM_FLOAT_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_GEMM_FLOAT_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_GEMM_FLOAT_INL_H_
#endif

#include <algorithm>
#include <array>
#include <utility>

#include "hwy/cache_control.h"
#include "thimble/graph/panels.h"
#include "thimble/runtime/kernels/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

static_assert(kPanelWidth == kLanes);

// Tiles by what fits the registers beside a row of weights and a broadcast input.
#if HWY_CAP_GE512
inline constexpr size_t kMaxTileRows = 8, kTileRegisters = 24;
#elif HWY_CAP_GE256
inline constexpr size_t kMaxTileRows = 6, kTileRegisters = 12;
#elif HWY_TARGET == HWY_NEON && HWY_ARCH_ARM_A64
inline constexpr size_t kMaxTileRows = 6, kTileRegisters = 24;
#elif HWY_TARGET == HWY_SCALAR
inline constexpr size_t kMaxTileRows = 1, kTileRegisters = 16;
#else
inline constexpr size_t kMaxTileRows = 2, kTileRegisters = 8;
#endif
static_assert(kMaxTileRows * kParts <= kTileRegisters, "the highest tile has one panel");
inline constexpr size_t kMaxTilePanels = 4;

// Few rows take more panels at once: a fused multiply-add has a latency of four, twice per cycle.
constexpr size_t TilePanels(size_t rows) {
  return std::clamp<size_t>(kTileRegisters / (rows * kParts), 1, kMaxTilePanels);
}

HWY_INLINE Register LoadWeights(const float* p) { return hn::LoadU(FloatTag(), p); }

// Exact, infinities and NaN included.
HWY_INLINE Register LoadWeights(const uint16_t* p) {
#if HWY_CAP_GE256 || HWY_TARGET == HWY_NEON
  const hn::Rebind<hwy::float16_t, FloatTag> d;
  return hn::PromoteTo(FloatTag(), hn::LoadU(d, reinterpret_cast<const hwy::float16_t*>(p)));
#else
  const IntTag d;
  const auto half = hn::PromoteTo(d, hn::LoadU(hn::Rebind<uint16_t, IntTag>(), p));
  const auto sign = hn::ShiftLeft<16>(hn::And(half, hn::Set(d, 0x8000)));
  const auto magnitude = hn::ShiftLeft<13>(hn::And(half, hn::Set(d, 0x7FFF)));
  const auto finite = hn::Mul(hn::BitCast(FloatTag(), magnitude), hn::Set(FloatTag(), 0x1p112f));
  const auto special = hn::Or(magnitude, hn::Set(d, 0x7F800000));
  const auto is_special = hn::Gt(magnitude, hn::Set(d, 0x0F7FFFFF));
  const auto bits = hn::IfThenElse(is_special, special, hn::BitCast(d, finite));
  return hn::BitCast(FloatTag(), hn::Or(bits, sign));
#endif
}

inline constexpr size_t kCacheLine = 64;

// Inputs first .. first + count, whose weights lie one after another.
struct Stretch {
  size_t first, count;
};

// The inputs that have weights: of dense panels all, in one stretch.
struct AllInputs {
  static constexpr size_t kMaxPanels = kMaxTilePanels;  // that can share a tile

  size_t inputs;
  size_t weights() const { return inputs; }  // of one output
  size_t stretches() const { return 1; }
  Stretch stretch(size_t) const { return {0, inputs}; }
};

// One tile: sums[kRows][kPanels * 16] = a[kRows, inputs] * panels, added to what is there if `add`.
// Meanwhile the weights at `ahead`, a stretch of `ahead_step` bytes for each input, come closer.
template <class Weight, class Inputs>
struct TileArgs {
  const float* a;
  size_t a_stride;
  const Weight* panels;
  Inputs inputs;
  const char* ahead;
  size_t ahead_step;
  float* sums;
  size_t sums_stride;
  bool add = false;
};

template <class Weight, class Inputs, size_t kRows, size_t kPanels>
void MultiplyTile(const TileArgs<Weight, Inputs>& args) {
  constexpr size_t kColumns = kPanels * kParts;  // registers in a row of the tile
  Register sums[kRows][kColumns];
  if (args.add) {
    THIMBLE_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      THIMBLE_UNROLL
      for (size_t c = 0; c < kColumns; ++c) {
        sums[r][c] = hn::LoadU(FloatTag(), args.sums + r * args.sums_stride + c * kRegisterLanes);
      }
    }
  } else {
    THIMBLE_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      THIMBLE_UNROLL
      for (size_t c = 0; c < kColumns; ++c) sums[r][c] = hn::Zero(FloatTag());
    }
  }
  const Inputs inputs = args.inputs;
  const Weight* HWY_RESTRICT w = args.panels;
  const char* ahead = args.ahead;
  const size_t ahead_step = args.ahead_step;
  const size_t stride = args.a_stride, panel_size = inputs.weights() * kPanelWidth;
  for (size_t s = 0; s < inputs.stretches(); ++s) {
    const Stretch stretch = inputs.stretch(s);
    const float* HWY_RESTRICT a = args.a + stretch.first;
    for (const float* end = a + stretch.count; a != end; ++a) {
      __builtin_prefetch(ahead, 0, 2);
      if (ahead_step > kCacheLine) {
        THIMBLE_UNROLL
        for (size_t c = 1; c < kPanels; ++c) __builtin_prefetch(ahead + c * kCacheLine, 0, 2);
      }
      Register weights[kColumns];
      THIMBLE_UNROLL
      for (size_t c = 0; c < kColumns; ++c) {
        weights[c] = LoadWeights(w + c / kParts * panel_size + c % kParts * kRegisterLanes);
      }
      THIMBLE_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        const Register input = hn::Set(FloatTag(), a[r * stride]);
        THIMBLE_UNROLL
        for (size_t c = 0; c < kColumns; ++c) sums[r][c] = Fma(input, weights[c], sums[r][c]);
      }
      w += kPanelWidth;
      ahead += ahead_step;
    }
  }
  THIMBLE_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    THIMBLE_UNROLL
    for (size_t c = 0; c < kColumns; ++c) {
      hn::StoreU(sums[r][c], FloatTag(), args.sums + r * args.sums_stride + c * kRegisterLanes);
    }
  }
}

template <class Weight, class Inputs>
using Tile = void (*)(const TileArgs<Weight, Inputs>&);

// The tile of each number of rows and panels; null where it would not fit the registers.
template <class Weight, class Inputs>
class Tiles {
 public:
  static Tile<Weight, Inputs> Get(size_t rows, size_t panels) {
    return kTable[(rows - 1) * kMaxTilePanels + panels - 1];
  }

 private:
  template <size_t kIndex>
  static constexpr Tile<Weight, Inputs> Entry() {
    constexpr size_t kRows = kIndex / kMaxTilePanels + 1, kPanels = kIndex % kMaxTilePanels + 1;
    if constexpr (kPanels <= std::min(TilePanels(kRows), Inputs::kMaxPanels)) {
      return MultiplyTile<Weight, Inputs, kRows, kPanels>;
    } else {
      return nullptr;
    }
  }
  template <size_t... kIndices>
  static constexpr std::array<Tile<Weight, Inputs>, sizeof...(kIndices)> Fill(
      std::index_sequence<kIndices...>) {
    return {Entry<kIndices>()...};
  }
  static constexpr auto kTable = Fill(std::make_index_sequence<kMaxTileRows * kMaxTilePanels>());
};

// A tile's place in the grid of rows and panels: the `index`th of `count` over the same panels.
struct TilePosition {
  size_t row, rows, panel, panels, index, count;
};

// Rows in tiles of as equal heights as can be.
class RowTiles {
 public:
  explicit RowTiles(size_t rows)
      : rows_(rows),
        count_((rows + kMaxTileRows - 1) / kMaxTileRows),
        low_(rows / count_),
        higher_(rows % count_) {}

  size_t rows() const { return rows_; }
  size_t count() const { return count_; }
  // That each takes at once.
  size_t panels() const { return TilePanels(low_ + (higher_ != 0 ? 1 : 0)); }

  // visit(index, first row, rows)
  template <class Visit>
  HWY_INLINE void ForEach(const Visit& visit) const {
    for (size_t t = 0, row = 0; t < count_; ++t) {
      const size_t height = low_ + (t < higher_ ? 1 : 0);
      visit(t, row, height);
      row += height;
    }
  }

 private:
  size_t rows_, count_, low_, higher_;  // `higher` tiles have one row more
};

// Visits the tiles of `rows` x `panels`, panels outermost and at most `most` of them in a tile.
template <class Visit>
HWY_INLINE void ForEachTile(size_t rows, size_t panels, size_t most, const Visit& visit) {
  const RowTiles tiles(rows);
  const size_t step = std::min(tiles.panels(), most);
  for (size_t panel = 0; panel < panels; panel += step) {
    const size_t now = std::min(step, panels - panel);
    tiles.ForEach([&](size_t t, size_t row, size_t height) HWY_ATTR {
      visit(TilePosition{row, height, panel, now, t, tiles.count()});
    });
  }
}

// sums = a[position's rows] * panels, `inputs` of each; every panel written whole.
template <class Weight, class Inputs>
HWY_INLINE void MultiplyAt(const TilePosition& at, const float* a, size_t a_stride,
                           const Inputs& inputs, const Weight* panels, float* sums,
                           size_t sums_stride) {
  const char* end =
      reinterpret_cast<const char*>(panels + at.panels * inputs.weights() * kPanelWidth);
  // Each tile brings its share of the panels after these. Behind the last lies what the file holds
  // next, most often the weights of the next product.
  const size_t share = at.panels * kPanelWidth * sizeof(Weight) / at.count;
  Tiles<Weight, Inputs>::Get(
      at.rows, at.panels)({a + at.row * a_stride, a_stride, panels, inputs,
                           end + at.index * share * inputs.weights(), share, sums, sums_stride});
}

// sums[rows, panels * 16] = a[rows, inputs] * panels.
inline void MultiplyPanels(const float* a, size_t a_stride, size_t rows, size_t inputs,
                           const float* weights, size_t panels, float* sums, size_t sums_stride) {
  ForEachTile(rows, panels, kMaxTilePanels, [&](const TilePosition& at) HWY_ATTR {
    MultiplyAt(at, a, a_stride, AllInputs{inputs}, weights + at.panel * inputs * kPanelWidth,
               sums + at.row * sums_stride + at.panel * kPanelWidth, sums_stride);
  });
}

// Rows whose inputs stay in the second-level cache while all weights go by.
inline constexpr size_t kRowBlockBytes = 1024 * 1024;

// The tiles of a product and what follows them. multiply(position, a, sums, stride) fills a tile of
// at most `most` panels.
template <class Multiply>
HWY_INLINE void LinearTiles(const LinearArgs& args, size_t most, const Multiply& multiply) {
  alignas(64) float sums[kTileRegisters * kRegisterLanes];
  const size_t panels = (args.cols + kPanelWidth - 1) / kPanelWidth;
  const size_t fitting = kRowBlockBytes / sizeof(float) / std::max<size_t>(args.inputs, 1);
  const size_t block = std::max(fitting / kMaxTileRows, size_t{4}) * kMaxTileRows;
  for (size_t first = 0; first < args.rows; first += block) {
    const float* a = args.a + first * args.a_stride;
    const size_t rows = std::min(block, args.rows - first);
    ForEachTile(rows, panels, most, [&](const TilePosition& at) HWY_ATTR {
      const size_t col = at.panel * kPanelWidth, width = at.panels * kPanelWidth;
      multiply(at, a, sums, width);
      FinishTile(FloatSums{sums, width}, args.epilogue,
                 {first + at.row, col, at.rows, std::min(width, args.cols - col)}, args.c,
                 args.c_stride);
    });
  }
}

template <class Weight>
void LinearFloat(const LinearArgs& args) noexcept {
  const Weight* weights = static_cast<const Weight*>(args.weight);
  const size_t panel_size = args.inputs * kPanelWidth;
  LinearTiles(args, kMaxTilePanels,
              [&](const TilePosition& at, const float* a, float* sums, size_t width) HWY_ATTR {
                MultiplyAt(at, a, args.a_stride, AllInputs{args.inputs},
                           weights + at.panel * panel_size, sums, width);
              });
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
