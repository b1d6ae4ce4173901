#include "thimble/passes/weights_by_group.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "thimble/graph/int4.h"
#include "thimble/passes/matrices.h"
#include "thimble/passes/passes.h"
#include "thimble/passes/weights_to_int8.h"

namespace thimble {
namespace {

constexpr std::array kClips = {1.0f, 0.92f, 0.84f, 0.76f, 0.68f};
constexpr size_t kLargestGroup = *std::max_element(kScaleGroups.begin(), kScaleGroups.end());

// To nearest, ties to even, for magnitudes below 2^22: without a library call, which compilers of the oldest x86 need.
float Round(float x) {
  constexpr float kShift = 0x1.8p23f;
  return (x + kShift) - kShift;
}

// What codes have in common with the values that they stand for.
struct Fit {
  double values_codes = 0, codes_codes = 0;
  // How much of |values|^2 is explained at the best scale.
  double Explained() const {
    return codes_codes > 0 ? values_codes * values_codes / codes_codes : 0;
  }
};

Fit RoundAt(std::span<const float> values, float largest_code, float largest_value, float* codes) {
  const float reciprocal = largest_code / largest_value;
  for (size_t i = 0; i < values.size(); ++i) {
    codes[i] = Round(std::clamp(values[i] * reciprocal, -largest_code, largest_code));
  }
  Fit fit;
  for (size_t i = 0; i < values.size(); ++i) {
    fit.values_codes += static_cast<double>(values[i]) * codes[i];
    fit.codes_codes += static_cast<double>(codes[i]) * codes[i];
  }
  return fit;
}

}  // namespace

float QuantizeGroup(std::span<const float> values, int largest_code, int8_t* codes) {
  THIMBLE_CHECK(values.size() <= kLargestGroup);
  float largest = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) return NAN;
    largest = std::max(largest, std::abs(value));
  }
  const auto most = static_cast<float>(largest_code);
  // Zeros, or numbers so small that their scale is none.
  if (!std::isfinite(most / largest)) {
    std::fill_n(codes, values.size(), int8_t{0});
    return 0;
  }
  std::array<float, kLargestGroup> rounded, best_rounded{};
  Fit best;
  for (const float clip : kClips) {
    const Fit fit = RoundAt(values, most, clip * largest, rounded.data());
    if (clip != kClips[0] && fit.Explained() <= best.Explained()) continue;
    best = fit;
    std::copy_n(rounded.begin(), values.size(), best_rounded.begin());
  }
  for (size_t i = 0; i < values.size(); ++i) codes[i] = static_cast<int8_t>(best_rounded[i]);
  return static_cast<float>(best.values_codes / best.codes_codes);
}

Result<Tensor> ToGroups(const Tensor& tensor, const GroupType& type) {
  if (tensor.dtype() == type.dtype && tensor.scale_group() == type.group) return tensor;
  const std::vector<float> values = tensor.ToFloats();
  const auto rows = static_cast<size_t>(tensor.dim(0));
  const auto width = static_cast<size_t>(tensor.dim(1));
  const bool int4 = type.dtype == DType::kI4Group;
  const size_t row_bytes = int4 ? (width + 1) / 2 : width;
  std::vector<std::byte> stored(rows * row_bytes);
  std::array<int8_t, kLargestGroup> codes;
  auto scales = std::make_shared<std::vector<float>>();
  for (size_t r = 0; r < rows; ++r) {
    std::byte* row = stored.data() + r * row_bytes;
    for (size_t first = 0; first < width; first += type.group) {
      const size_t count = std::min(type.group, width - first);
      scales->push_back(QuantizeGroup(std::span(values).subspan(r * width + first, count),
                                      int4 ? 7 : 127, codes.data()));
      if (std::isnan(scales->back())) {
        return InvalidData("has values that are not finite in row " + std::to_string(r));
      }
      for (size_t i = 0; i < count; ++i) {
        if (int4) {
          StoreInt4(row, first + i, codes[i]);
        } else {
          row[first + i] = static_cast<std::byte>(codes[i]);
        }
      }
    }
  }
  const std::span<const float> view(*scales);
  return Tensor::Copy(type.dtype, tensor.shape(), stored)
      .WithScales(view, std::move(scales), type.group);
}

Result<Graph> WeightsByGroupWhere(const Graph& graph, const GroupType& type,
                                  const std::function<bool(const Node&)>& chosen) {
  Graph result = graph;
  TiedConversion convert([&](const Tensor& tensor) { return ToGroups(tensor, type); });
  for (Node& node : result.nodes) {
    if (BecomesInt8(graph, node) && chosen(node)) TRY_VOID(convert.Apply(node.weights[0]));
  }
  return result;
}

Result<Graph> WeightsByGroup(const Graph& graph, const GroupType& type) {
  TRY(const Graph result, WeightsByGroupWhere(graph, type, [](const Node&) { return true; }));
  return OtherTablesToHalf(result);
}

}  // namespace thimble
