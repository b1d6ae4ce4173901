#include <algorithm>
#include <cmath>

#include "thimble/graph/block_sparse.h"
#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {

namespace {

// The input as the codes of its scale stand for it. The order of operations is the kernels': one product with the
// reciprocal, rounding, one product.
std::vector<float> RoundedInput(std::span<const float> x, double input_scale) {
  const auto scale = static_cast<float>(input_scale);
  const float reciprocal = 1.0f / scale;
  std::vector<float> rounded;
  rounded.reserve(x.size());
  for (const float v : x) {
    const float code =
        std::isnan(v) ? 0 : std::nearbyint(std::clamp(v * reciprocal, -127.0f, 127.0f));
    rounded.push_back(code * scale);
  }
  return rounded;
}

}  // namespace

// y = x W^T + b
Result<ValueType> InferLinear(const OpContext& c) {
  TRY_VOID(CheckInputCount(c, 1));
  TRY_VOID(CheckWeightCount(c, 1, 2));
  TRY_VOID(CheckFloatInputs(c));
  TRY_VOID(CheckMatrix(c, 0));
  const Tensor& weight = c.weights[0];
  if (weight.dim(1) != c.inputs[0].width) {
    return InvalidData("its weight is " + ShapeText(weight.shape()) + ", its input has width " +
                       std::to_string(c.inputs[0].width));
  }
  if (c.weights.size() == 2) TRY_VOID(CheckVector(c, 1, weight.dim(0)));
  // Both must be usable float32: the kernels multiply by one and by the other.
  const double scale = c.attr<LinearAttrs>().input_scale;
  constexpr double kLeast = 1e-35, kMost = 1e35;
  if (scale != 0 && !(scale >= kLeast && scale <= kMost)) {
    return InvalidData("its input scale " + std::to_string(scale) + " is no scale");
  }
  return ValueType{Element::kFloat32, c.inputs[0].rows, weight.dim(0)};
}

Cost CostLinear(const OpContext& c, const Workload& workload) {
  const auto rows = static_cast<double>(workload.rows(c.inputs[0].rows));
  return {ProductsPerRow(c.weights[0]) * rows, WeightBytes(c)};
}

Result<ReferenceValue> ReferenceLinear(const OpContext& c, const PackedBatch& batch,
                                       std::span<const ReferenceValue* const> inputs) {
  const std::vector<float> weight = c.weights[0].ToFloats();
  const std::vector<float> bias =
      c.weights.size() == 2 ? c.weights[1].ToFloats() : std::vector<float>();
  const auto outputs = static_cast<size_t>(c.weights[0].dim(0));
  const auto width = static_cast<size_t>(c.weights[0].dim(1));
  const size_t rows = batch.rows(c.inputs[0].rows);
  const double scale = c.attr<LinearAttrs>().input_scale;
  const std::vector<float> input =
      scale > 0 ? RoundedInput(inputs[0]->floats, scale) : inputs[0]->floats;
  ReferenceValue out = MakeFloats({Element::kFloat32, c.inputs[0].rows, c.weights[0].dim(0)}, rows);
  for (size_t r = 0; r < rows; ++r) {
    const float* x = input.data() + r * width;
    for (size_t n = 0; n < outputs; ++n) {
      const float* w = weight.data() + n * width;
      double sum = bias.empty() ? 0.0 : bias[n];
      for (size_t k = 0; k < width; ++k) sum += static_cast<double>(x[k]) * w[k];
      out.floats[r * outputs + n] = static_cast<float>(sum);
    }
  }
  return out;
}

}  // namespace thimble
