#include "thimble/graph/panels.h"

#include <cstring>
#include <vector>

namespace thimble {
namespace {

// Elements of one input group: int8 keeps four inputs together, floats one.
size_t InputGroup(DType dtype) { return dtype == DType::kI8 ? kPanelInputGroup : 1; }

// Where element (n, k) of a [*, inputs] weight lies, in elements from the start.
size_t PanelIndex(DType dtype, size_t inputs, size_t n, size_t k) {
  const size_t group = InputGroup(dtype);
  const size_t panel = n / kPanelWidth * RoundUp(inputs, group) * kPanelWidth;
  return panel + k / group * group * kPanelWidth + n % kPanelWidth * group + k % group;
}

// Calls move(row-major byte offset, panel byte offset) for every element.
template <class Move>
void ForEachElement(const Tensor& weight, const Move& move) {
  const auto outputs = static_cast<size_t>(weight.dim(0));
  const auto inputs = static_cast<size_t>(weight.dim(1));
  const size_t bytes = DTypeBytes(weight.dtype());
  for (size_t n = 0; n < outputs; ++n) {
    for (size_t k = 0; k < inputs; ++k) {
      move((n * inputs + k) * bytes, PanelIndex(weight.dtype(), inputs, n, k) * bytes);
    }
  }
}

void CheckPackable(const Tensor& weight, Layout layout) {
  THIMBLE_CHECK(weight.rank() == 2 && weight.layout() == layout);
  THIMBLE_CHECK(weight.dtype() == DType::kF32 || weight.dtype() == DType::kF16 ||
                weight.dtype() == DType::kI8);
}

Tensor KeepScales(Tensor moved, const Tensor& from) {
  if (from.scales().empty()) return moved;
  const size_t rows = from.scales().size();
  auto scales = std::make_shared<std::vector<float>>(from.scales().begin(), from.scales().end());
  scales->resize(RoundUp(rows, kPanelWidth), 0.0f);
  const std::span<const float> view(scales->data(), rows);
  return moved.WithScales(view, std::move(scales));
}

}  // namespace

size_t PanelBytes(DType dtype, size_t inputs) {
  return RoundUp(inputs, InputGroup(dtype)) * kPanelWidth * DTypeBytes(dtype);
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
  const size_t bytes = DTypeBytes(weight.dtype());
  ForEachElement(weight, [&](size_t row_major, size_t panel) {
    std::memcpy(packed.get() + panel, weight.data().data() + row_major, bytes);
  });
  const std::span<const std::byte> view{packed.get(), size};
  return KeepScales(
      Tensor::View(weight.dtype(), weight.shape(), view, std::move(packed), Layout::kPanels),
      weight);
}

Tensor UnpackPanels(const Tensor& weight) {
  CheckPackable(weight, Layout::kPanels);
  const size_t bytes = DTypeBytes(weight.dtype());
  std::vector<std::byte> row_major(weight.elements() * bytes);
  ForEachElement(weight, [&](size_t to, size_t from) {
    std::memcpy(row_major.data() + to, weight.data().data() + from, bytes);
  });
  return KeepScales(Tensor::Copy(weight.dtype(), weight.shape(), row_major), weight);
}

}  // namespace thimble
