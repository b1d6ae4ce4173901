// Constants: typed, shaped, immutable bytes. Cheap to copy; copies share their storage, so graphs that
// differ in a few weights cost only those.
#pragma once

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
#define DTYPE(enumerator, name, bytes) enumerator,
#include "thimble/graph/dtypes.inc"
#undef DTYPE
};

std::string_view DTypeName(DType dtype);
size_t DTypeBytes(DType dtype);
std::optional<DType> DTypeFromName(std::string_view name);

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

// Quantization: kI8 tensors of rank 2 carry one scale per row, real = scales[row] * q, q in [-127, 127].
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

  // The same tensor with its scales: one float32 per row; for kI8 of rank 2.
  Tensor WithScales(std::span<const float> scales, std::shared_ptr<const void> owner) const;

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  Layout layout() const { return layout_; }
  int64_t dim(size_t i) const { return shape_[i]; }
  size_t rank() const { return shape_.size(); }
  // Elements that the shape names (panels store more: padding; block-sparse fewer: no zeros).
  size_t elements() const;
  std::span<const std::byte> data() const { return data_; }
  size_t bytes() const { return data_.size() + scales_.size() * sizeof(float); }
  // Empty unless kI8.
  std::span<const float> scales() const { return scales_; }

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
  std::shared_ptr<const void> owner_, scales_owner_;
};

}  // namespace thimble
