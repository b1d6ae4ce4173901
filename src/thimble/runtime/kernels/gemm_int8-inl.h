// Products of quantized rows with int8 panels, and the quantization of rows.
#if defined(THIMBLE_RUNTIME_KERNELS_GEMM_INT8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_GEMM_INT8_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_GEMM_INT8_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_GEMM_INT8_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "thimble/graph/panels.h"
#include "thimble/runtime/kernels/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

inline void LinearInt8(const LinearInt8Args& args) noexcept {
  const size_t groups = (args.inputs + kPanelInputGroup - 1) / kPanelInputGroup;
  Epilogue epilogue = args.epilogue;
  epilogue.bias = nullptr;  // already in the sums
  for (size_t col = 0; col < args.cols; col += kPanelWidth) {
    const size_t cols = std::min(kPanelWidth, args.cols - col);
    const int8_t* panel = args.weight + col * groups * kPanelInputGroup;
    alignas(64) float bias[kPanelWidth] = {};
    if (args.epilogue.bias != nullptr) {
      std::memcpy(bias, args.epilogue.bias + col, cols * sizeof(float));
    }
    for (size_t row = 0; row < args.rows; ++row) {
      const int8_t* a = args.a + row * args.a_stride;
      int32_t sums[kPanelWidth] = {};
      for (size_t g = 0; g < groups; ++g) {
        for (size_t n = 0; n < kPanelWidth; ++n) {
          for (size_t k = 0; k < kPanelInputGroup; ++k) {
            sums[n] +=
                a[g * kPanelInputGroup + k] * panel[(g * kPanelWidth + n) * kPanelInputGroup + k];
          }
        }
      }
      alignas(64) float floats[kPanelWidth];
      for (size_t n = 0; n < kPanelWidth; ++n) floats[n] = static_cast<float>(sums[n]);
      const Floats scales = Mul(Broadcast(args.a_scales[row]), Load(args.weight_scales + col));
      Store(Fma(Load(floats), scales, Load(bias)), floats);
      FinishTile(floats, kPanelWidth, epilogue, {row, col, 1, cols}, args.c, args.c_stride);
    }
  }
}

inline void QuantizeRows(const QuantizeArgs& args) noexcept {
  for (size_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.x_stride;
    int8_t* q = args.q + r * args.q_stride;
    float largest = 0;
    for (size_t i = 0; i < args.width; ++i) {
      if (const float size = std::fabs(x[i]); size > largest) largest = size;
    }
    args.scales[r] = largest / 127.0f;
    const bool infinite = largest == std::numeric_limits<float>::infinity();
    const float factor = infinite || largest == 0 ? 0.0f : 127.0f / largest;
    for (size_t i = 0; i < args.width; ++i) {
      float y =
          infinite && std::fabs(x[i]) == largest ? std::copysign(127.0f, x[i]) : x[i] * factor;
      if (!(y >= -127.0f)) y = y < -127.0f ? -127.0f : 0.0f;
      if (y > 127.0f) y = 127.0f;
      q[i] = static_cast<int8_t>(std::nearbyint(y));
    }
    std::memset(q + args.width, 0, RoundUp(args.width, 64) - args.width);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
