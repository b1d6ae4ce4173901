// Products of float rows with panels of int4 or int8 codes that have a scale per group of inputs.
//
// Codes are widened to float32 panels, a stretch of inputs at a time, into a buffer of the size of
// the first-level cache, and multiplied by the tiles of float products, all tiles of a block of
// rows before the next stretch: with many rows widening costs little. A weight is code * scale,
// rounded to float32, and each sum is one chain in the order of the inputs: the bits of a float
// product with the dequantized weight.
#if defined(THIMBLE_RUNTIME_KERNELS_GEMM_GROUPED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_GEMM_GROUPED_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_GEMM_GROUPED_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_GEMM_GROUPED_INL_H_
#endif

#include "thimble/runtime/kernels/gemm_float-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

// Inputs that are widened at a time: a multiple of every group.
inline constexpr size_t kStretch = 128;
inline constexpr size_t kGroupedBlockTiles = 8;

HWY_INLINE Floats ToFloats(const Ints& a) {
  THIMBLE_LANEWISE(Floats, hn::ConvertTo(FloatTag(), a.part[i]));
}

// 64 bytes of a panel: 16 outputs, of each the codes of 32 / kBits inputs in one 32-bit lane, the
// first in its lowest bits. Writes a row of 16 weights for each input.
template <int kBits, int... kInputs>
HWY_INLINE void WidenLanes(const int32_t* codes, const Floats& scales, float* to,
                           std::integer_sequence<int, kInputs...>) {
  const Ints lanes = Load(codes);
  constexpr int kAbove = 32 - kBits;
  (Store(
       Mul(ToFloats(ShiftRightSigned<kAbove>(ShiftLeft<kAbove - kInputs * kBits>(lanes))), scales),
       to + kInputs * kPanelWidth),
   ...);
}

// A panel's inputs [first, first + count) as float weights; `first` begins a group. What is written
// ends with a whole lane of codes, up to 32 / kBits - 1 rows beyond.
template <int kBits>
HWY_INLINE void WidenPanel(const std::byte* panel, const float* scales, size_t group, size_t first,
                           size_t count, float* to) {
  constexpr size_t kLaneInputs = 32 / kBits;
  const auto* codes = reinterpret_cast<const int32_t*>(panel) + first / kLaneInputs * kPanelWidth;
  const float* scale = scales + first / group * kPanelWidth;
  for (size_t begin = 0; begin < count; begin += group) {
    const Floats of_group = Load(scale);
    for (size_t k = begin; k < std::min(begin + group, count); k += kLaneInputs) {
      WidenLanes<kBits>(codes, of_group, to, std::make_integer_sequence<int, 32 / kBits>());
      codes += kPanelWidth;
      to += kLaneInputs * kPanelWidth;
    }
    scale += kPanelWidth;
  }
}

template <int kBits>
void LinearGrouped(const LinearGroupedArgs& args) noexcept {
  constexpr DType kType = kBits == 4 ? DType::kI4Group : DType::kI8Group;
  alignas(64) float weights[(kMaxTilePanels * kStretch + kInt4PanelInputGroup) * kPanelWidth];
  alignas(64) float sums[kGroupedBlockTiles * kTileRegisters * kRegisterLanes];
  const LinearArgs& linear = args.linear;
  const size_t panels = (linear.cols + kPanelWidth - 1) / kPanelWidth;
  const size_t panel_bytes = PanelBytes(kType, linear.inputs);
  const size_t panel_scales = (linear.inputs + args.group - 1) / args.group * kPanelWidth;
  constexpr size_t kBlock = kGroupedBlockTiles * kMaxTileRows;
  for (size_t first = 0; first < linear.rows; first += kBlock) {
    const RowTiles tiles(std::min(kBlock, linear.rows - first));
    for (size_t panel = 0; panel < panels; panel += tiles.panels()) {
      const size_t now = std::min(tiles.panels(), panels - panel), width = now * kPanelWidth;
      for (size_t k = 0; k < linear.inputs; k += kStretch) {
        const size_t count = std::min(kStretch, linear.inputs - k);
        for (size_t p = 0; p < now; ++p) {
          WidenPanel<kBits>(
              static_cast<const std::byte*>(linear.weight) + (panel + p) * panel_bytes,
              args.scales + (panel + p) * panel_scales, args.group, k, count,
              weights + p * count * kPanelWidth);
        }
        tiles.ForEach([&](size_t, size_t row, size_t height) HWY_ATTR {
          Tiles<float, AllInputs>::Get(height,
                                       now)({.a = linear.a + (first + row) * linear.a_stride + k,
                                             .a_stride = linear.a_stride,
                                             .panels = weights,
                                             .inputs = AllInputs{count},
                                             .ahead = reinterpret_cast<const char*>(weights),
                                             .ahead_step = 0,
                                             .sums = sums + row * width,
                                             .sums_stride = width,
                                             .add = k != 0});
        });
      }
      const size_t col = panel * kPanelWidth;
      FinishTile(FloatSums{sums, width}, linear.epilogue,
                 {first, col, tiles.rows(), std::min(width, linear.cols - col)}, linear.c,
                 linear.c_stride);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
