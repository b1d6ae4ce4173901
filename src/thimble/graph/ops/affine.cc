#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {

// y = x * weight + bias, elementwise per row: MobileBERT's NoNorm.
Result<ValueType> InferAffine(const OpContext& c) {
  TRY_VOID(CheckInputCount(c, 1));
  TRY_VOID(CheckWeightCount(c, 2, 2));
  TRY_VOID(CheckFloatInputs(c));
  for (size_t i = 0; i < 2; ++i) TRY_VOID(CheckVector(c, i, c.inputs[0].width));
  return c.inputs[0];
}

Cost CostAffine(const OpContext& c, const Workload& workload) { return NoProducts(c, workload); }

Result<ReferenceValue> ReferenceAffine(const OpContext& c, const PackedBatch& batch,
                                       std::span<const ReferenceValue* const> inputs) {
  const std::vector<float> weight = c.weights[0].ToFloats(), bias = c.weights[1].ToFloats();
  ReferenceValue out = MakeFloats(c.inputs[0], batch.rows(c.inputs[0].rows));
  for (size_t i = 0; i < out.floats.size(); ++i) {
    const size_t column = i % weight.size();
    out.floats[i] = static_cast<float>(static_cast<double>(inputs[0]->floats[i]) * weight[column] +
                                       bias[column]);
  }
  return out;
}

}  // namespace thimble
