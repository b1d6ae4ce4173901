#include "thimble/runtime/test_graphs.h"

#include <algorithm>
#include <memory>

#include "thimble/base/half.h"
#include "thimble/graph/int4.h"

namespace thimble {
namespace {

Tensor ToHalf(const Tensor& f32) {
  std::vector<uint16_t> halves;
  for (const float v : f32.floats()) halves.push_back(FloatToHalf(v));
  return Tensor::Copy(DType::kF16, f32.shape(), std::as_bytes(std::span(halves)));
}

Tensor ToInt8(const Tensor& f32) {
  const auto rows = static_cast<size_t>(f32.dim(0)), width = static_cast<size_t>(f32.dim(1));
  std::vector<int8_t> q(rows * width);
  // Kernels read scales for whole panels.
  auto scales = std::make_shared<std::vector<float>>(RoundUp(rows, kPanelWidth), 0.0f);
  for (size_t r = 0; r < rows; ++r) {
    const std::span<const float> row = f32.floats().subspan(r * width, width);
    float max = 0;
    for (const float v : row) max = std::max(max, std::abs(v));
    (*scales)[r] = max / 127;
    for (size_t c = 0; c < width; ++c) {
      q[r * width + c] = static_cast<int8_t>(std::lround(max > 0 ? row[c] * 127 / max : 0));
    }
  }
  const std::span<const float> view(scales->data(), rows);
  return Tensor::Copy(DType::kI8, f32.shape(), std::as_bytes(std::span(q)))
      .WithScales(view, std::move(scales));
}

// By the smallest groups there are, rounded at the largest value of each.
Tensor ToGroups(const Tensor& f32, DType dtype) {
  constexpr size_t kGroup = kScaleGroups[0];
  const float most = dtype == DType::kI4Group ? 7 : 127;
  const auto rows = static_cast<size_t>(f32.dim(0)), width = static_cast<size_t>(f32.dim(1));
  std::vector<std::byte> codes(*RowMajorBytes(dtype, f32.shape()));
  auto scales = std::make_shared<std::vector<float>>();
  for (size_t r = 0; r < rows; ++r) {
    std::byte* to = codes.data() + r * (codes.size() / rows);
    for (size_t first = 0; first < width; first += kGroup) {
      const auto group = f32.floats().subspan(r * width + first, std::min(kGroup, width - first));
      float max = 0;
      for (const float v : group) max = std::max(max, std::abs(v));
      scales->push_back(max / most);
      for (size_t i = 0; i < group.size(); ++i) {
        const auto q = static_cast<int8_t>(std::lround(max > 0 ? group[i] * most / max : 0));
        if (dtype == DType::kI4Group) {
          StoreInt4(to, first + i, q);
        } else {
          to[first + i] = static_cast<std::byte>(q);
        }
      }
    }
  }
  const std::span<const float> view(*scales);
  return Tensor::Copy(dtype, f32.shape(), codes).WithScales(view, std::move(scales), kGroup);
}

}  // namespace

Tensor TestGraph::Convert(const Tensor& f32) {
  if (weights_ == DType::kF16) return ToHalf(f32);
  if (weights_ == DType::kI8) return ToInt8(f32);
  if (HasGroupScales(weights_)) return ToGroups(f32, weights_);
  return f32;
}

}  // namespace thimble
