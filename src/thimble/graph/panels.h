// The panel layout of weights: one form that serves every instruction set, so that a file is packed
// once, when it is written, and used in place wherever it is read.
//
// A weight W [outputs N, inputs K] is cut into ceil(N / 16) panels of 16 outputs, one after another.
// Inside a panel, inputs are outermost:
//
//   kF32, kF16   panel[k][n]             K rows of 16 elements
//   kI8          panel[k / 4][n][k % 4]  ceil(K / 4) rows of 16 x 4 elements: 64 bytes, the operand of
//                                        one VNNI, AMX or dot-product step
//   kI8Group     the same
//   kI4Group     panel[k / 8][n][k % 8]  ceil(K / 8) rows of 16 x 8 elements: 64 bytes
//
// Outputs beyond N and inputs beyond K are zero. Storage is aligned to 64 bytes and followed by
// kPanelGuardBytes readable bytes: kernels may load, and multiply by zero, that far past the end. The
// scales of a kI8 weight are followed by zeros up to a whole panel; those of groups lie as graph/tensor.h says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "thimble/graph/tensor.h"

namespace thimble {

inline constexpr size_t kPanelWidth = 16;
inline constexpr size_t kPanelInputGroup = 4;  // inputs that lie together in an int8 panel
inline constexpr size_t kInt4PanelInputGroup = 8;
inline constexpr size_t kPanelAlignment = 64;
inline constexpr size_t kPanelGuardBytes = 1024;

constexpr size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

constexpr bool FitsPanels(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || IsQuantized(dtype);
}

// Inputs that lie together: as many codes as fill 32 bits, one float.
constexpr size_t InputGroup(DType dtype) {
  if (dtype == DType::kI4Group) return kInt4PanelInputGroup;
  return IsQuantized(dtype) ? kPanelInputGroup : 1;
}

// Bytes of one panel with `inputs` inputs, and of a whole weight, without the guard. Types that FitsPanels() only.
size_t PanelBytes(DType dtype, size_t inputs);
size_t PanelsBytes(DType dtype, size_t outputs, size_t inputs);

// So many bytes of zeros, with alignment and guard.
std::shared_ptr<std::byte> AllocatePanels(size_t bytes);

// Row-major -> panels and back, both exact, scales included. `weight` is of rank 2 and a type that FitsPanels().
// Row-major input of other types must be converted first.
Tensor PackPanels(const Tensor& weight);
Tensor UnpackPanels(const Tensor& weight);

}  // namespace thimble
