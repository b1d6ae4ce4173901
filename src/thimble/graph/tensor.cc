#include "thimble/graph/tensor.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "thimble/base/half.h"
#include "thimble/graph/block_sparse.h"
#include "thimble/graph/int4.h"
#include "thimble/graph/panels.h"

namespace thimble {
namespace {

struct DTypeRow {
  std::string_view name;
  size_t bits;
};
constexpr DTypeRow kDTypes[] = {
#define DTYPE(enumerator, name, bits) {name, bits},
#include "thimble/graph/dtypes.inc"
#undef DTYPE
};

std::shared_ptr<std::byte> AllocateAligned(size_t bytes) {
  constexpr std::align_val_t kAlignment{kPanelAlignment};
  return {static_cast<std::byte*>(::operator new(bytes, kAlignment)),
          [](std::byte* p) { ::operator delete(p, kAlignment); }};
}

template <class T>
T Load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// The `i`th element behind `row`.
float ElementAsFloat(DType dtype, const std::byte* row, size_t i) {
  const std::byte* p = row + i * DTypeBits(dtype) / 8;
  switch (dtype) {
    case DType::kF32:
      return Load<float>(p);
    case DType::kF16:
      return HalfToFloat(Load<uint16_t>(p));
    case DType::kBF16:
      return BFloat16ToFloat(Load<uint16_t>(p));
    case DType::kI8:
    case DType::kI8Group:
      return static_cast<float>(Load<int8_t>(p));
    case DType::kI4Group:
      return static_cast<float>(LoadInt4(row, i));
    case DType::kU8:
      return static_cast<float>(Load<uint8_t>(p));
    case DType::kI32:
      return static_cast<float>(Load<int32_t>(p));
    case DType::kI64:
      return static_cast<float>(Load<int64_t>(p));
  }
  return 0;
}

}  // namespace

std::string_view DTypeName(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].name; }
size_t DTypeBits(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].bits; }
size_t DTypeBytes(DType dtype) {
  THIMBLE_CHECK(DTypeBits(dtype) % 8 == 0);
  return DTypeBits(dtype) / 8;
}

std::optional<DType> DTypeFromName(std::string_view name) {
  for (size_t i = 0; i < std::size(kDTypes); ++i) {
    if (kDTypes[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::string ShapeText(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::optional<size_t> ElementCount(const Shape& shape) {
  size_t count = 1;
  for (const int64_t dim : shape) {
    if (!std::in_range<size_t>(dim)) return std::nullopt;
    const auto d = static_cast<size_t>(dim);
    if (d != 0 && count > std::numeric_limits<size_t>::max() / d) return std::nullopt;
    count *= d;
  }
  return count;
}

std::optional<size_t> RowMajorBytes(DType dtype, const Shape& shape) {
  Shape rows = shape;
  if (dtype == DType::kI4Group) {
    if (shape.empty() || shape.back() < 0) return std::nullopt;
    rows.back() = shape.back() / 2 + shape.back() % 2;
  }
  const std::optional<size_t> units = ElementCount(rows);
  const size_t unit_bytes = dtype == DType::kI4Group ? 1 : DTypeBytes(dtype);
  size_t bytes = 0;
  if (!units || __builtin_mul_overflow(*units, unit_bytes, &bytes)) return std::nullopt;
  return bytes;
}

std::optional<size_t> ScaleCount(DType dtype, const Shape& shape, Layout layout,
                                 size_t scale_group) {
  const auto rows = static_cast<size_t>(shape[0]), width = static_cast<size_t>(shape[1]);
  if (!HasGroupScales(dtype)) return rows;
  const size_t groups = width / scale_group + (width % scale_group != 0 ? 1 : 0);
  size_t count = 0;
  const size_t stored_rows = layout == Layout::kPanels ? RoundUp(rows, kPanelWidth) : rows;
  if (stored_rows < rows || __builtin_mul_overflow(stored_rows, groups, &count)) {
    return std::nullopt;
  }
  return count;
}

Tensor Tensor::View(DType dtype, Shape shape, std::span<const std::byte> data,
                    std::shared_ptr<const void> owner, Layout layout) {
  Tensor t;
  t.dtype_ = dtype;
  t.layout_ = layout;
  t.shape_ = std::move(shape);
  t.data_ = data;
  t.owner_ = std::move(owner);
  const std::optional<size_t> count = ElementCount(t.shape_);
  THIMBLE_CHECK(count.has_value());
  if (layout == Layout::kRowMajor) {
    THIMBLE_CHECK(data.size() == RowMajorBytes(dtype, t.shape_));
  } else {
    THIMBLE_CHECK(t.rank() == 2);
    THIMBLE_CHECK(reinterpret_cast<uintptr_t>(data.data()) % kPanelAlignment == 0);
    const auto outputs = static_cast<size_t>(t.dim(0)), inputs = static_cast<size_t>(t.dim(1));
    if (layout == Layout::kPanels) {
      THIMBLE_CHECK(data.size() == PanelsBytes(dtype, outputs, inputs));
    } else {
      THIMBLE_CHECK(dtype == DType::kF32);
      THIMBLE_CHECK(CheckBlockSparse(outputs, inputs, data).has_value());
    }
  }
  return t;
}

Tensor Tensor::Copy(DType dtype, Shape shape, std::span<const std::byte> data) {
  std::shared_ptr<std::byte> storage = AllocateAligned(data.size());
  if (!data.empty()) std::memcpy(storage.get(), data.data(), data.size());
  const std::span<const std::byte> bytes{storage.get(), data.size()};
  return View(dtype, std::move(shape), bytes, std::move(storage));
}

Tensor Tensor::FromFloats(Shape shape, std::span<const float> values) {
  return Copy(DType::kF32, std::move(shape), std::as_bytes(values));
}

Tensor Tensor::WithScales(std::span<const float> scales, std::shared_ptr<const void> owner,
                          size_t scale_group) const {
  THIMBLE_CHECK(IsQuantized(dtype_) && rank() == 2);
  const bool known =
      std::find(kScaleGroups.begin(), kScaleGroups.end(), scale_group) != kScaleGroups.end();
  THIMBLE_CHECK(HasGroupScales(dtype_) ? known : scale_group == 0);
  THIMBLE_CHECK(scales.size() == ScaleCount(dtype_, shape_, layout_, scale_group));
  Tensor t = *this;
  t.scales_ = scales;
  t.scales_owner_ = std::move(owner);
  t.scale_group_ = scale_group;
  return t;
}

size_t Tensor::elements() const { return *ElementCount(shape_); }

bool Tensor::SameAs(const Tensor& other) const {
  return dtype_ == other.dtype_ && layout_ == other.layout_ && shape_ == other.shape_ &&
         scale_group_ == other.scale_group_ && data_.data() == other.data_.data() &&
         data_.size() == other.data_.size();
}

std::span<const float> Tensor::floats() const {
  THIMBLE_CHECK(dtype_ == DType::kF32 && layout_ == Layout::kRowMajor);
  return {reinterpret_cast<const float*>(data_.data()), data_.size() / sizeof(float)};
}

Tensor Tensor::InLayout(Layout layout) const {
  if (layout == layout_) return *this;
  switch (layout) {
    case Layout::kRowMajor:
      return layout_ == Layout::kPanels ? UnpackPanels(*this) : UnpackBlockSparse(*this);
    case Layout::kPanels:
      return PackPanels(InLayout(Layout::kRowMajor));
    case Layout::kBlockSparse:
      return PackBlockSparse(InLayout(Layout::kRowMajor));
  }
  return *this;
}

std::vector<float> Tensor::ToFloats() const {
  if (layout_ != Layout::kRowMajor) return InLayout(Layout::kRowMajor).ToFloats();
  std::vector<float> out(elements());
  if (out.empty()) return out;
  const auto width = static_cast<size_t>(rank() == 0 ? 1 : shape_.back());
  const size_t rows = out.size() / width, row_bytes = data_.size() / rows;
  for (size_t r = 0; r < rows; ++r) {
    const std::byte* row = data_.data() + r * row_bytes;
    for (size_t i = 0; i < width; ++i) out[r * width + i] = ElementAsFloat(dtype_, row, i);
  }
  if (!scales_.empty()) {
    const size_t group = scale_group_ == 0 ? width : scale_group_;
    const size_t groups = scales_.size() / rows;
    for (size_t r = 0; r < rows; ++r) {
      for (size_t i = 0; i < width; ++i) out[r * width + i] *= scales_[r * groups + i / group];
    }
  }
  return out;
}

}  // namespace thimble
