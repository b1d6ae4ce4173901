#include "thimble/graph/tensor.h"

#include <cstring>
#include <limits>
#include <new>

#include "thimble/base/half.h"
#include "thimble/graph/block_sparse.h"
#include "thimble/graph/panels.h"

namespace thimble {
namespace {

struct DTypeRow {
  std::string_view name;
  size_t bytes;
};
constexpr DTypeRow kDTypes[] = {
#define DTYPE(enumerator, name, bytes) {name, bytes},
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

float ElementAsFloat(DType dtype, const std::byte* p) {
  switch (dtype) {
    case DType::kF32:
      return Load<float>(p);
    case DType::kF16:
      return HalfToFloat(Load<uint16_t>(p));
    case DType::kBF16:
      return BFloat16ToFloat(Load<uint16_t>(p));
    case DType::kI8:
      return static_cast<float>(Load<int8_t>(p));
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
size_t DTypeBytes(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].bytes; }

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
    if (dim < 0) return std::nullopt;
    const auto d = static_cast<size_t>(dim);
    if (d != 0 && count > std::numeric_limits<size_t>::max() / d) return std::nullopt;
    count *= d;
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
    THIMBLE_CHECK(data.size() == *count * DTypeBytes(dtype));
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

Tensor Tensor::WithScales(std::span<const float> scales, std::shared_ptr<const void> owner) const {
  THIMBLE_CHECK(dtype_ == DType::kI8 && rank() == 2);
  THIMBLE_CHECK(scales.size() == static_cast<size_t>(dim(0)));
  Tensor t = *this;
  t.scales_ = scales;
  t.scales_owner_ = std::move(owner);
  return t;
}

size_t Tensor::elements() const { return *ElementCount(shape_); }

bool Tensor::SameAs(const Tensor& other) const {
  return dtype_ == other.dtype_ && layout_ == other.layout_ && shape_ == other.shape_ &&
         data_.data() == other.data_.data() && data_.size() == other.data_.size();
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
  const size_t step = DTypeBytes(dtype_);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = ElementAsFloat(dtype_, data_.data() + i * step);
  }
  if (!scales_.empty()) {
    const auto width = static_cast<size_t>(dim(1));
    for (size_t i = 0; i < out.size(); ++i) out[i] *= scales_[i / width];
  }
  return out;
}

}  // namespace thimble
