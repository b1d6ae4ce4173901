// Products of quantized rows with int8 panels where instructions multiply 16 bits and nothing narrower (WebAssembly).
//
// Bytes are widened beforehand: a block of rows once for all panels, a panel once for all rows of a block, so that between
// two products there are only loads. Inputs are taken in stretches whose widened panel stays in the first-level cache; sums
// wait in memory in between.
#if defined(THIMBLE_RUNTIME_KERNELS_GEMM_INT8_WIDENED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_GEMM_INT8_WIDENED_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_GEMM_INT8_WIDENED_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_GEMM_INT8_WIDENED_INL_H_
#endif

#include <algorithm>

#include "thimble/runtime/kernels/gemm_int8-inl.h"

#if HWY_TARGET == HWY_WASM

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

inline constexpr size_t kWidenedInputs = 512;  // of a stretch
inline constexpr size_t kWidenedTileRows = 2;  // 8 registers of sums; 15 are to be had
inline constexpr size_t kWidenedRowStep = 16;
inline constexpr size_t kWidenedBlock = 64 * 1024;  // inputs of all rows of a block
inline constexpr size_t kWidenedLeastRows =
    6;  // below, widening costs more than it saves (docs/int8.md)

// [inputs / 4][16 outputs][4] bytes -> [inputs / 2][16 outputs][2]: what one product of pairs takes lies together.
HWY_INLINE void WidenPanel(const int8_t* HWY_RESTRICT panel, size_t inputs,
                           int16_t* HWY_RESTRICT widened) {
  constexpr size_t kGroup = kPanelWidth * kPanelInputGroup;
  for (size_t k = 0; k < inputs; k += kPanelInputGroup) {
    for (size_t c = 0; c < kGroup; c += 16) {  // four outputs
      const v128_t bytes = wasm_v128_load(panel + c);
      const v128_t pairs = wasm_i16x8_shuffle(bytes, bytes, 0, 2, 4, 6, 1, 3, 5, 7);
      wasm_v128_store(widened + c / 2, wasm_i16x8_extend_low_i8x16(pairs));
      wasm_v128_store(widened + kGroup / 2 + c / 2, wasm_i16x8_extend_high_i8x16(pairs));
    }
    panel += kGroup;
    widened += kGroup;
  }
}

// Rows are zero up to a multiple of kInputBlock.
HWY_INLINE void WidenRow(const int8_t* HWY_RESTRICT row, size_t inputs,
                         int16_t* HWY_RESTRICT widened) {
  for (size_t k = 0; k < inputs; k += kWidenedRowStep) {
    const v128_t bytes = wasm_v128_load(row + k);
    wasm_v128_store(widened + k, wasm_i16x8_extend_low_i8x16(bytes));
    wasm_v128_store(widened + k + 8, wasm_i16x8_extend_high_i8x16(bytes));
  }
}

// sums[kRows][16] = or += rows[kRows][inputs] * panel.
template <size_t kRows>
HWY_INLINE void SumWidened(const int16_t* HWY_RESTRICT rows, size_t stride,
                           const int16_t* HWY_RESTRICT panel, size_t inputs, bool add,
                           int32_t* HWY_RESTRICT sums) {
  constexpr size_t kColumns = kPanelWidth / 4;
  v128_t tile[kRows][kColumns];
  THIMBLE_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    THIMBLE_UNROLL
    for (size_t c = 0; c < kColumns; ++c) {
      tile[r][c] = add ? wasm_v128_load(sums + r * kPanelWidth + 4 * c) : wasm_i32x4_const_splat(0);
    }
  }
  for (const int16_t* end = rows + inputs; rows != end; rows += 2) {
    THIMBLE_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const v128_t pair = wasm_v128_load32_splat(rows + r * stride);
      THIMBLE_UNROLL
      for (size_t c = 0; c < kColumns; ++c) {
        const v128_t weights = wasm_v128_load(panel + 8 * c);
        tile[r][c] = wasm_i32x4_add(tile[r][c], wasm_i32x4_dot_i16x8(weights, pair));
      }
    }
    panel += 2 * kPanelWidth;
  }
  THIMBLE_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    THIMBLE_UNROLL
    for (size_t c = 0; c < kColumns; ++c) {
      wasm_v128_store(sums + r * kPanelWidth + 4 * c, tile[r][c]);
    }
  }
}

// sums[rows][16] = a block of widened rows[rows][inputs] * panel.
inline void MultiplyWidened(const int16_t* wide_rows, size_t stride, size_t rows, size_t inputs,
                            const int8_t* panel, int32_t* sums) {
  alignas(64) int16_t wide_panel[kWidenedInputs * kPanelWidth];
  for (size_t first = 0; first < inputs; first += kWidenedInputs) {
    const size_t stretch = std::min(kWidenedInputs, inputs - first);
    WidenPanel(panel + first * kPanelWidth, stretch, wide_panel);
    size_t r = 0;
    for (; r + kWidenedTileRows <= rows; r += kWidenedTileRows) {
      SumWidened<kWidenedTileRows>(wide_rows + r * stride + first, stride, wide_panel, stretch,
                                   first != 0, sums + r * kPanelWidth);
    }
    for (; r < rows; ++r) {
      SumWidened<1>(wide_rows + r * stride + first, stride, wide_panel, stretch, first != 0,
                    sums + r * kPanelWidth);
    }
  }
}

inline void LinearInt8Widened(const LinearInt8Args& args) noexcept {
  // Not on the stack, which is small in WebAssembly.
  alignas(64) static thread_local int16_t wide_rows[kWidenedBlock];
  alignas(64) int32_t sums[kInt8RowBlock * kPanelWidth];
  const size_t stride = RoundUp(args.inputs, kWidenedRowStep);
  const size_t block = std::min(kInt8RowBlock, kWidenedBlock / stride);
  if (args.rows < kWidenedLeastRows || block < kWidenedLeastRows) return LinearInt8<DotInt8>(args);
  const size_t panel_bytes = Int8PanelBytes(args.inputs);
  for (size_t first = 0; first < args.rows; first += block) {
    const size_t rows = std::min(block, args.rows - first);
    for (size_t r = 0; r < rows; ++r) {
      WidenRow(args.a + (first + r) * args.a_stride, stride, wide_rows + r * stride);
    }
    for (size_t col = 0; col < args.cols; col += kPanelWidth) {
      MultiplyWidened(wide_rows, stride, rows, RoundUp(args.inputs, kPanelInputGroup),
                      args.weight + col / kPanelWidth * panel_bytes, sums);
      FinishSums(args, {first, col, rows, std::min(kPanelWidth, args.cols - col)}, sums,
                 kPanelWidth);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // HWY_WASM

#endif  // per-target guard
