// Products of quantized rows with int8 panels.
//
// Panels are the outer loop, so that weights come from memory once; a block of rows stays in the
// second-level cache. A tile of sums stays in registers while all inputs go by, then goes through a
// small buffer into the epilogue, which is one piece of code for every instruction set. Sums are
// exact, so tiles may have any shape and the order of the inputs does not matter.
#if defined(THIMBLE_RUNTIME_KERNELS_GEMM_INT8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_GEMM_INT8_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_GEMM_INT8_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_GEMM_INT8_INL_H_
#endif

#include <algorithm>
#include <type_traits>

#include "thimble/graph/panels.h"
#include "thimble/runtime/kernels/dot_int8-inl.h"
#include "thimble/runtime/kernels/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

// Rows of activations are zero up to a multiple of this many inputs, so loops may run that far:
// what they read of weights there, the next panel or the guard, is multiplied by zero.
inline constexpr size_t kInputBlock = 64;
inline constexpr size_t kGroupsPerBlock = kInputBlock / kPanelInputGroup;

constexpr size_t Int8PanelBytes(size_t inputs) {
  return RoundUp(inputs, kPanelInputGroup) * kPanelWidth;
}

// --- Epilogue

struct Int8Sums {
  const int32_t* sums;  // [place.rows][stride], 64-byte aligned
  size_t stride;
  const float* a_scales;
  const float* weight_scales;

  template <class LoadColumns>
  HWY_INLINE auto At(const TilePlace& place, size_t col, const float* bias,
                     const LoadColumns& load) const {
    const Floats biases = bias != nullptr ? load(bias + col) : Zeros();
    const Floats scales = Load(weight_scales + col);
    const int32_t* column = sums + (col - place.col);
    return
        [column, stride = stride, rows = a_scales + place.row, scales, biases](size_t r) HWY_ATTR {
          return Fma(FloatsOfSums(column + r * stride), Mul(Broadcast(rows[r]), scales), biases);
        };
  }

 private:
  static HWY_INLINE Floats FloatsOfSums(const int32_t* HWY_RESTRICT p) {
    THIMBLE_LANEWISE(Floats, hn::ConvertTo(FloatTag(), hn::Load(IntTag(), p + i * kRegisterLanes)));
  }
};

// c[place] = epilogue(sums).
HWY_INLINE void FinishSums(const LinearInt8Args& args, const TilePlace& place, const int32_t* sums,
                           size_t stride) {
  FinishTile(Int8Sums{sums, stride, args.a_scales, args.weight_scales}, args.epilogue, place,
             args.c, args.c_stride);
}

// --- Tiles

// The operands of one tile. `starts` has what the sums of each row start from where Dot::kShifted.
struct Int8Tile {
  const int8_t* a;
  size_t a_stride;
  const int8_t* panels;
  size_t inputs;
  const int32_t* starts;
  int32_t* sums;  // [rows][panels * 16]
};

// A step has a latency of 5 to 10 cycles and starts at least once a cycle: few rows take several
// groups of inputs at once, each with its own sums.
template <class Dot>
constexpr size_t GroupsAtOnce(size_t rows, size_t panels) {
  const size_t registers = rows * panels * Dot::kRegisters;
  return registers >= 8 ? 1 : registers >= 4 ? 2 : 4;
}

template <class Dot, size_t kRows, size_t kPanels>
void SumTile(const Int8Tile& tile) {
  constexpr size_t kColumns = kPanels * Dot::kRegisters;  // registers in a row of the tile
  constexpr size_t kAtOnce = GroupsAtOnce<Dot>(kRows, kPanels);
  constexpr size_t kGroupBytes = kPanelWidth * kPanelInputGroup;
  constexpr size_t kRegisterBytes = kGroupBytes / Dot::kRegisters;
  constexpr size_t kRegisterSums = kPanelWidth / Dot::kRegisters;
  typename Dot::Register sums[kAtOnce][kRows][kColumns];
  THIMBLE_UNROLL
  for (size_t g = 0; g < kAtOnce; ++g) {
    THIMBLE_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const int32_t start = Dot::kShifted && g == 0 ? tile.starts[r] : 0;
      THIMBLE_UNROLL
      for (size_t c = 0; c < kColumns; ++c) sums[g][r][c] = Dot::Start(start);
    }
  }
  const size_t stride = tile.a_stride, panel_bytes = Int8PanelBytes(tile.inputs);
  const size_t groups = RoundUp(tile.inputs, kPanelInputGroup * kAtOnce) / kPanelInputGroup;
  const int8_t* HWY_RESTRICT a = tile.a;
  const int8_t* HWY_RESTRICT w = tile.panels;
  for (size_t group = 0; group < groups; group += kAtOnce) {
    THIMBLE_UNROLL
    for (size_t g = 0; g < kAtOnce; ++g) {
      typename Dot::Weights weights[kColumns];
      THIMBLE_UNROLL
      for (size_t c = 0; c < kColumns; ++c) {
        weights[c] = Dot::LoadWeights(w + c / Dot::kRegisters * panel_bytes +
                                      c % Dot::kRegisters * kRegisterBytes);
      }
      THIMBLE_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        const typename Dot::Inputs inputs = Dot::LoadInputs(a + r * stride);
        THIMBLE_UNROLL
        for (size_t c = 0; c < kColumns; ++c) {
          sums[g][r][c] = Dot::Dot(sums[g][r][c], weights[c], inputs);
        }
      }
      a += kPanelInputGroup;
      w += kGroupBytes;
    }
  }
  THIMBLE_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    THIMBLE_UNROLL
    for (size_t c = 0; c < kColumns; ++c) {
      typename Dot::Register sum = sums[0][r][c];
      THIMBLE_UNROLL
      for (size_t g = 1; g < kAtOnce; ++g) sum = Dot::Add(sum, sums[g][r][c]);
      Dot::Store(sum, tile.sums + (r * kColumns + c) * kRegisterSums);
    }
  }
}

// The tile of `rows`, from 1 to kRows.
template <class Dot, size_t kPanels, size_t kRows = Dot::kRows>
HWY_INLINE void SumTileOf(size_t rows, const Int8Tile& tile) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return SumTileOf<Dot, kPanels, kRows - 1>(rows, tile);
  }
  SumTile<Dot, kRows, kPanels>(tile);
}

// --- Rows

// -128 times the sum of a row, which is zero up to a multiple of kInputBlock.
HWY_INLINE int32_t ShiftedStart(const int8_t* HWY_RESTRICT a, size_t inputs) {
  const hn::CappedTag<uint8_t, kInputBlock> d;
  const hn::Repartition<uint64_t, decltype(d)> d64;
  const auto shift = hn::Set(d, 128);
  auto total = hn::Zero(d64);
  const size_t padded = RoundUp(inputs, kInputBlock);
  for (size_t k = 0; k < padded; k += hn::Lanes(d)) {
    const auto bytes = hn::Load(d, reinterpret_cast<const uint8_t*>(a + k));
    total = hn::Add(total, hn::SumsOf8(hn::Xor(bytes, shift)));
  }
  const auto sum = static_cast<int64_t>(hn::GetLane(hn::SumOfLanes(d64, total)));
  return static_cast<int32_t>(-128 * (sum - static_cast<int64_t>(128 * padded)));
}

HWY_INLINE bool AnyNegative(const int8_t* HWY_RESTRICT a, size_t inputs) {
  const hn::CappedTag<int8_t, kInputBlock> d;
  auto signs = hn::Zero(d);
  const size_t padded = RoundUp(inputs, kInputBlock);
  for (size_t k = 0; k < padded; k += hn::Lanes(d)) signs = hn::Or(signs, hn::Load(d, a + k));
  return !hn::AllFalse(d, hn::Lt(signs, hn::Zero(d)));
}

// Rows whose starts fit a small buffer and whose inputs stay in the second-level cache.
inline constexpr size_t kInt8RowBlock = 240;

// Rows [first, first + rows), at most kInt8RowBlock, in tiles of as equal heights as can be.
template <class Dot>
void MultiplyInt8Rows(const LinearInt8Args& args, size_t first, size_t rows) {
  alignas(64) int32_t sums[Dot::kRows * Dot::kPanels * kPanelWidth];
  int32_t starts[kInt8RowBlock];
  if constexpr (Dot::kShifted) {
    for (size_t r = 0; r < rows; ++r) {
      starts[r] = ShiftedStart(args.a + (first + r) * args.a_stride, args.inputs);
    }
  }
  const size_t tiles = (rows + Dot::kRows - 1) / Dot::kRows;
  const size_t low = rows / tiles, higher = rows % tiles;  // `higher` tiles have one row more
  const size_t panel_bytes = Int8PanelBytes(args.inputs);
  for (size_t col = 0; col < args.cols;) {
    const bool all_panels = args.cols - col > (Dot::kPanels - 1) * kPanelWidth;
    const size_t width = (all_panels ? Dot::kPanels : 1) * kPanelWidth;
    for (size_t t = 0, r = 0; t < tiles; ++t) {
      const size_t height = low + (t < higher ? 1 : 0);
      const Int8Tile tile{args.a + (first + r) * args.a_stride,
                          args.a_stride,
                          args.weight + col / kPanelWidth * panel_bytes,
                          args.inputs,
                          starts + r,
                          sums};
      all_panels ? SumTileOf<Dot, Dot::kPanels>(height, tile) : SumTileOf<Dot, 1>(height, tile);
      FinishSums(args, {first + r, col, height, std::min(width, args.cols - col)}, sums, width);
      r += height;
    }
    col += width;
  }
}

// Rows [first, first + rows), at most kInt8RowBlock, by the cheapest step that is exact for them.
template <class Dot>
HWY_INLINE void MultiplyInt8Block(const LinearInt8Args& args, size_t first, size_t rows) {
  if constexpr (!std::is_void_v<typename Dot::NonNegative>) {
    // As behind a ReLU. Other rows show within the first few of them.
    size_t r = 0;
    while (r < rows && !AnyNegative(args.a + (first + r) * args.a_stride, args.inputs)) ++r;
    if (r == rows) return MultiplyInt8Rows<typename Dot::NonNegative>(args, first, rows);
  }
  MultiplyInt8Rows<Dot>(args, first, rows);
}

template <class Dot>
void LinearInt8(const LinearInt8Args& args) noexcept {
  for (size_t row = 0; row < args.rows; row += kInt8RowBlock) {
    MultiplyInt8Block<Dot>(args, row, std::min(kInt8RowBlock, args.rows - row));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
