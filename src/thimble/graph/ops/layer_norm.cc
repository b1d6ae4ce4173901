#include <cmath>

#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {

// y = (x - mean) / sqrt(variance + epsilon) * weight + bias over each row (Ba et al. 2016).
Result<ValueType> InferLayerNorm(const OpContext& c) {
  TRY_VOID(CheckInputCount(c, 1));
  TRY_VOID(CheckWeightCount(c, 2, 2));
  TRY_VOID(CheckFloatInputs(c));
  for (size_t i = 0; i < 2; ++i) TRY_VOID(CheckVector(c, i, c.inputs[0].width));
  const double epsilon = c.attr<LayerNormAttrs>().epsilon;
  if (!(epsilon >= 0 && epsilon < 1e6))
    return InvalidData("epsilon is not a small positive number");
  return c.inputs[0];
}

Cost CostLayerNorm(const OpContext& c, const Workload& workload) { return NoProducts(c, workload); }

Result<ReferenceValue> ReferenceLayerNorm(const OpContext& c, const PackedBatch& batch,
                                          std::span<const ReferenceValue* const> inputs) {
  const std::vector<float> weight = c.weights[0].ToFloats(), bias = c.weights[1].ToFloats();
  const size_t rows = batch.rows(c.inputs[0].rows), width = weight.size();
  ReferenceValue out = MakeFloats(c.inputs[0], rows);
  for (size_t r = 0; r < rows; ++r) {
    const float* x = inputs[0]->floats.data() + r * width;
    double mean = 0, variance = 0;
    for (size_t i = 0; i < width; ++i) mean += x[i];
    mean /= static_cast<double>(width);
    for (size_t i = 0; i < width; ++i) variance += (x[i] - mean) * (x[i] - mean);
    variance /= static_cast<double>(width);
    const double inverse = 1 / std::sqrt(variance + c.attr<LayerNormAttrs>().epsilon);
    for (size_t i = 0; i < width; ++i) {
      out.floats[r * width + i] = static_cast<float>((x[i] - mean) * inverse * weight[i] + bias[i]);
    }
  }
  return out;
}

}  // namespace thimble
