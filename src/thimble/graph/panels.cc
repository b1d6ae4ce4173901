#include "thimble/graph/panels.h"

#include <cstring>
#include <memory>
#include <vector>

#include "thimble/graph/int4.h"

namespace thimble {
namespace {

// Where element (n, k) of a [*, inputs] weight lies, in elements from the start.
size_t PanelIndex(DType dtype, size_t inputs, size_t n, size_t k) {
  const size_t group = InputGroup(dtype);
  const size_t panel = n / kPanelWidth * RoundUp(inputs, group) * kPanelWidth;
  return panel + k / group * group * kPanelWidth + n % kPanelWidth * group + k % group;
}

// Calls move(row-major index, panel index) for every element; rows of four-bit codes begin with a byte.
template <class Move>
void ForEachElement(const Tensor& weight, const Move& move) {
  const auto outputs = static_cast<size_t>(weight.dim(0));
  const auto inputs = static_cast<size_t>(weight.dim(1));
  const size_t stride = RoundUp(inputs, weight.dtype() == DType::kI4Group ? 2 : 1);
  for (size_t n = 0; n < outputs; ++n) {
    for (size_t k = 0; k < inputs; ++k) {
      move(n * stride + k, PanelIndex(weight.dtype(), inputs, n, k));
    }
  }
}

void CopyElement(DType dtype, const std::byte* from, size_t from_index, std::byte* to,
                 size_t to_index) {
  if (dtype == DType::kI4Group) {
    StoreInt4(to, to_index, LoadInt4(from, from_index));
  } else {
    const size_t bytes = DTypeBytes(dtype);
    std::memcpy(to + to_index * bytes, from + from_index * bytes, bytes);
  }
}

void CheckPackable(const Tensor& weight, Layout layout) {
  THIMBLE_CHECK(weight.rank() == 2 && weight.layout() == layout);
  THIMBLE_CHECK(FitsPanels(weight.dtype()));
}

// Scales of groups between [row][group] and [row / 16][group][row % 16].
Tensor MoveGroupScales(const Tensor& moved, const Tensor& from) {
  const auto outputs = static_cast<size_t>(from.dim(0));
  const size_t groups =
      RoundUp(static_cast<size_t>(from.dim(1)), from.scale_group()) / from.scale_group();
  const bool to_panels = moved.layout() == Layout::kPanels;
  auto scales = std::make_shared<std::vector<float>>(
      *ScaleCount(from.dtype(), from.shape(), moved.layout(), from.scale_group()), 0.0f);
  for (size_t n = 0; n < outputs; ++n) {
    for (size_t g = 0; g < groups; ++g) {
      const size_t row_major = n * groups + g;
      const size_t panel = (n / kPanelWidth * groups + g) * kPanelWidth + n % kPanelWidth;
      (*scales)[to_panels ? panel : row_major] = from.scales()[to_panels ? row_major : panel];
    }
  }
  const std::span<const float> view(*scales);
  return moved.WithScales(view, std::move(scales), from.scale_group());
}

Tensor MoveScales(Tensor moved, const Tensor& from) {
  if (from.scales().empty()) return moved;
  if (HasGroupScales(from.dtype())) return MoveGroupScales(moved, from);
  const size_t rows = from.scales().size();
  auto scales = std::make_shared<std::vector<float>>(from.scales().begin(), from.scales().end());
  scales->resize(RoundUp(rows, kPanelWidth), 0.0f);
  const std::span<const float> view(scales->data(), rows);
  return moved.WithScales(view, std::move(scales));
}

}  // namespace

size_t PanelBytes(DType dtype, size_t inputs) {
  return RoundUp(inputs, InputGroup(dtype)) * kPanelWidth * DTypeBits(dtype) / 8;
}

size_t PanelsBytes(DType dtype, size_t outputs, size_t inputs) {
  return RoundUp(outputs, kPanelWidth) / kPanelWidth * PanelBytes(dtype, inputs);
}

std::shared_ptr<std::byte> AllocatePanels(size_t bytes) {
  constexpr std::align_val_t kAlignment{kPanelAlignment};
  std::shared_ptr<std::byte> storage(
      static_cast<std::byte*>(::operator new(bytes + kPanelGuardBytes, kAlignment)),
      [](std::byte* p) { ::operator delete(p, kAlignment); });
  std::memset(storage.get(), 0, bytes + kPanelGuardBytes);
  return storage;
}

Tensor PackPanels(const Tensor& weight) {
  CheckPackable(weight, Layout::kRowMajor);
  const size_t size = PanelsBytes(weight.dtype(), static_cast<size_t>(weight.dim(0)),
                                  static_cast<size_t>(weight.dim(1)));
  std::shared_ptr<std::byte> packed = AllocatePanels(size);
  ForEachElement(weight, [&](size_t row_major, size_t panel) {
    CopyElement(weight.dtype(), weight.data().data(), row_major, packed.get(), panel);
  });
  const std::span<const std::byte> view{packed.get(), size};
  return MoveScales(
      Tensor::View(weight.dtype(), weight.shape(), view, std::move(packed), Layout::kPanels),
      weight);
}

Tensor UnpackPanels(const Tensor& weight) {
  CheckPackable(weight, Layout::kPanels);
  std::vector<std::byte> row_major(*RowMajorBytes(weight.dtype(), weight.shape()));
  ForEachElement(weight, [&](size_t to, size_t from) {
    CopyElement(weight.dtype(), weight.data().data(), from, row_major.data(), to);
  });
  return MoveScales(Tensor::Copy(weight.dtype(), weight.shape(), row_major), weight);
}

}  // namespace thimble
