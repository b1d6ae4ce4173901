// Products of small float matrices of which either may lie anywhere: rows of one head inside the
// rows of all, transposed scores. The tiles are those of runtime/kernels/gemm_float-inl.h, each sum
// one chain of fused multiply-adds in the order of the inputs.
#if defined(THIMBLE_TRAIN_KERNELS_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_TRAIN_KERNELS_PRODUCTS_INL_H_
#undef THIMBLE_TRAIN_KERNELS_PRODUCTS_INL_H_
#else
#define THIMBLE_TRAIN_KERNELS_PRODUCTS_INL_H_
#endif

#include <algorithm>
#include <array>
#include <utility>

#include "thimble/runtime/kernels/gemm_float-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

// The left matrix [rows, inputs] or, transposed, [inputs, rows].
struct Left {
  const float* data;
  size_t stride;
};

// The right matrix [inputs, 16 * panels]: `stride` from input to input, `panel` from panel to panel.
struct Right {
  const float* data;
  size_t stride, panel;
};

// Rows that are used where they lie. More of them are packed first: at strides of a power of two
// they would compete for the same cache lines.
inline constexpr size_t kRowsInPlace = 16;

constexpr size_t PackedFloats(size_t rows, size_t width) {
  return rows * RoundUp(width, kPanelWidth);
}

// `rows` rows of `width` floats as a right matrix, packed into `scratch` if that is better or the
// last panel would reach beyond a row.
HWY_INLINE Right RowsAsRight(const float* rows, size_t stride, size_t count, size_t width,
                             float* scratch) {
  if (count <= kRowsInPlace && width % kPanelWidth == 0) return {rows, stride, kPanelWidth};
  for (size_t r = 0; r < count; ++r) {
    float* to = scratch + r * kPanelWidth;
    ForEachLanes(width, [&](size_t, const auto& load, const auto&) HWY_ATTR {
      Store(load(rows + r * stride), to);
      to += count * kPanelWidth;
    });
  }
  return {scratch, kPanelWidth, count * kPanelWidth};
}

struct StridedTileArgs {
  Left a;
  Right b;
  size_t inputs;
  float* c;
  size_t c_stride;
  bool add;  // continue the chains from what c holds
};

template <bool kTransposed, size_t kRows, size_t kPanels>
void MultiplyStridedTile(const StridedTileArgs& args) {
  constexpr size_t kColumns = kPanels * kParts;  // registers in a row of the tile
  Register sums[kRows][kColumns];
  float* HWY_RESTRICT out = args.c;
  const size_t c_stride = args.c_stride;
  if (args.add) {
    THIMBLE_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      THIMBLE_UNROLL
      for (size_t c = 0; c < kColumns; ++c) {
        sums[r][c] = hn::LoadU(FloatTag(), out + r * c_stride + c * kRegisterLanes);
      }
    }
  } else {
    THIMBLE_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      THIMBLE_UNROLL
      for (size_t c = 0; c < kColumns; ++c) sums[r][c] = hn::Zero(FloatTag());
    }
  }
  const float* HWY_RESTRICT a = args.a.data;
  const float* HWY_RESTRICT b = args.b.data;
  const size_t a_stride = args.a.stride, b_stride = args.b.stride, panel = args.b.panel;
  for (size_t k = args.inputs; k != 0; --k) {
    Register right[kColumns];
    THIMBLE_UNROLL
    for (size_t c = 0; c < kColumns; ++c) {
      right[c] = hn::LoadU(FloatTag(), b + c / kParts * panel + c % kParts * kRegisterLanes);
    }
    THIMBLE_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const Register left = hn::Set(FloatTag(), kTransposed ? a[r] : a[r * a_stride]);
      THIMBLE_UNROLL
      for (size_t c = 0; c < kColumns; ++c) sums[r][c] = Fma(left, right[c], sums[r][c]);
    }
    a += kTransposed ? a_stride : 1;
    b += b_stride;
  }
  THIMBLE_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    THIMBLE_UNROLL
    for (size_t c = 0; c < kColumns; ++c) {
      hn::StoreU(sums[r][c], FloatTag(), out + r * c_stride + c * kRegisterLanes);
    }
  }
}

// The tile of each number of rows and panels; null where it would not fit the registers.
template <bool kTransposed>
class StridedTiles {
 public:
  using Function = void (*)(const StridedTileArgs&);
  static Function Get(size_t rows, size_t panels) {
    return kTable[(rows - 1) * kMaxTilePanels + panels - 1];
  }

 private:
  template <size_t kIndex>
  static constexpr Function Entry() {
    constexpr size_t kRows = kIndex / kMaxTilePanels + 1, kPanels = kIndex % kMaxTilePanels + 1;
    if constexpr (kPanels <= TilePanels(kRows)) {
      return MultiplyStridedTile<kTransposed, kRows, kPanels>;
    } else {
      return nullptr;
    }
  }
  template <size_t... kIndices>
  static constexpr std::array<Function, sizeof...(kIndices)> Fill(
      std::index_sequence<kIndices...>) {
    return {Entry<kIndices>()...};
  }
  static constexpr auto kTable = Fill(std::make_index_sequence<kMaxTileRows * kMaxTilePanels>());
};

struct ProductArgs {
  Left a;
  Right b;
  size_t rows, inputs, width;  // rows > 0
  float* c;
  size_t c_stride;
  bool add = false;  // c += a b instead of c = a b
};

// Nothing beyond `width` is written.
template <bool kTransposed>
void Multiply(const ProductArgs& args) {
  const size_t panels = (args.width + kLanes - 1) / kLanes;
  ForEachTile(args.rows, panels, kMaxTilePanels, [&](const TilePosition& at) HWY_ATTR {
    const size_t col = at.panel * kLanes, whole = at.panels * kLanes;
    const size_t width = std::min(whole, args.width - col);
    StridedTileArgs tile{
        .a = {args.a.data + at.row * (kTransposed ? 1 : args.a.stride), args.a.stride},
        .b = {args.b.data + at.panel * args.b.panel, args.b.stride, args.b.panel},
        .inputs = args.inputs,
        .c = args.c + at.row * args.c_stride + col,
        .c_stride = args.c_stride,
        .add = args.add};
    const auto multiply = StridedTiles<kTransposed>::Get(at.rows, at.panels);
    if (width == whole) return multiply(tile);
    // The last panel is not whole: the tile goes through a buffer of its own.
    alignas(64) float sums[kTileRegisters * kRegisterLanes];
    float* c = std::exchange(tile.c, sums);
    tile.c_stride = whole;
    for (size_t r = 0; args.add && r < at.rows; ++r) {
      float* to = sums + r * whole;
      ForEachLanes(width, [&](size_t, const auto& load, const auto&) HWY_ATTR {
        Store(load(c + r * args.c_stride), to);
        to += kLanes;
      });
    }
    multiply(tile);
    for (size_t r = 0; r < at.rows; ++r) {
      ForEachLanes(width, [&](size_t, const auto& load, const auto& store)
                              HWY_ATTR { store(load(sums + r * whole), c + r * args.c_stride); });
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
