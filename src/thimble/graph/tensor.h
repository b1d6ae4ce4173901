// Constants: typed, shaped, immutable bytes. Cheap to copy; copies share their storage, so graphs that
// differ in a few weights cost only those.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"

namespace thimble {

enum class DType : uint8_t {
#define DTYPE(enumerator, name, bits) enumerator,
#include "thimble/graph/dtypes.inc"
#undef DTYPE
};

std::string_view DTypeName(DType dtype);
size_t DTypeBits(DType dtype);
size_t DTypeBytes(DType dtype);  // of types of whole bytes: all but kI4Group
std::optional<DType> DTypeFromName(std::string_view name);

// Codes with a scale for each group of inputs of a row, multiplied as floats: weight-only quantization.
constexpr bool HasGroupScales(DType dtype) {
  return dtype == DType::kI8Group || dtype == DType::kI4Group;
}
constexpr bool IsQuantized(DType dtype) { return dtype == DType::kI8 || HasGroupScales(dtype); }

// Inputs that can share a scale; the last group of a row may have fewer.
inline constexpr std::array<size_t, 4> kScaleGroups = {16, 32, 64, 128};

using Shape = std::vector<int64_t>;

// "[768, 3072]"
std::string ShapeText(const Shape& shape);

// The product of the dimensions, or nothing if one is negative or the product overflows: shapes come
// from files.
std::optional<size_t> ElementCount(const Shape& shape);

// How the elements lie in memory.
enum class Layout : uint8_t {
  kRowMajor,
  // A weight [outputs, inputs] cut into panels of kPanelWidth outputs, the form that every instruction
  // set multiplies from (graph/panels.h describes it).
  kPanels,
  // The same panels without their blocks of zeros (graph/block_sparse.h); kF32 only.
  kBlockSparse,
};

// Bytes of a tensor in kRowMajor, where each row (the last dimension) begins with a byte; nothing if there can be no
// such tensor.
std::optional<size_t> RowMajorBytes(DType dtype, const Shape& shape);

// Quantization, of tensors of rank 2: real = scale * q.
//
//   kI8       one scale per row, q in [-127, 127]
//   kI8Group  one scale per scale_group() inputs of a row: scales[row][input / scale_group()]; q in [-127, 127]
//   kI4Group  the same with q in [-7, 7], two to a byte (graph/int4.h)
//
// In kPanels the scales of groups are panels too: scales[row / 16][input / scale_group()][row % 16], rows beyond the
// last with scale 0.
//
// Thread-safety: immutable, so free for all.
class Tensor {
 public:
  Tensor() = default;

  // Views bytes that `owner` keeps alive (null: the caller promises that they outlive the tensor).
  // The size must be right for the type, shape and layout: that is a THIMBLE_CHECK, callers validate
  // files first. Data need not be aligned in kRowMajor, and is 64-byte aligned in the others.
  static Tensor View(DType dtype, Shape shape, std::span<const std::byte> data,
                     std::shared_ptr<const void> owner, Layout layout = Layout::kRowMajor);
  // Owns a copy, 64-byte aligned.
  static Tensor Copy(DType dtype, Shape shape, std::span<const std::byte> data);
  static Tensor FromFloats(Shape shape, std::span<const float> values);
  static Tensor Scalar(float value) { return FromFloats({}, {&value, 1}); }

  // The same tensor with its scales, ScaleCount() of them. `scale_group`, of kScaleGroups, where there are groups.
  Tensor WithScales(std::span<const float> scales, std::shared_ptr<const void> owner,
                    size_t scale_group = 0) const;

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  Layout layout() const { return layout_; }
  int64_t dim(size_t i) const { return shape_[i]; }
  size_t rank() const { return shape_.size(); }
  // Elements that the shape names (panels store more: padding; block-sparse fewer: no zeros).
  size_t elements() const;
  std::span<const std::byte> data() const { return data_; }
  size_t bytes() const { return data_.size() + scales_.size() * sizeof(float); }
  // Empty unless quantized.
  std::span<const float> scales() const { return scales_; }
  // 0 without groups.
  size_t scale_group() const { return scale_group_; }

  // True when both share storage, type and shape: the way tied weights are recognised.
  bool SameAs(const Tensor& other) const;

  // Element access for kF32 in kRowMajor; needs 4-byte alignment, which Copy and FromFloats give.
  std::span<const float> floats() const;
  // The same values in another layout, scales kept; kPanels of rank 2 and kF32, kF16 or kI8,
  // kBlockSparse of rank 2 and kF32.
  Tensor InLayout(Layout layout) const;
  // Every type and layout widened to row-major float32, dequantized where scales say so.
  std::vector<float> ToFloats() const;

 private:
  DType dtype_ = DType::kF32;
  Layout layout_ = Layout::kRowMajor;
  Shape shape_{0};
  std::span<const std::byte> data_;
  std::span<const float> scales_;
  size_t scale_group_ = 0;
  std::shared_ptr<const void> owner_, scales_owner_;
};

// How many scales a quantized matrix has; nothing if that overflows.
std::optional<size_t> ScaleCount(DType dtype, const Shape& shape, Layout layout,
                                 size_t scale_group);

}  // namespace thimble
