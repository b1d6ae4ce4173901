#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {

Result<ValueType> InferAdd(const OpContext& c) {
  TRY_VOID(CheckInputCount(c, 2));
  TRY_VOID(CheckWeightCount(c, 0, 0));
  TRY_VOID(CheckFloatInputs(c));
  if (c.inputs[0] != c.inputs[1]) {
    return InvalidData("its inputs differ: widths " + std::to_string(c.inputs[0].width) + " and " +
                       std::to_string(c.inputs[1].width) +
                       (c.inputs[0].rows != c.inputs[1].rows ? ", tokens and sequences" : ""));
  }
  return c.inputs[0];
}

Cost CostAdd(const OpContext&, const Workload&) { return {}; }

Result<ReferenceValue> ReferenceAdd(const OpContext& c, const PackedBatch& batch,
                                    std::span<const ReferenceValue* const> inputs) {
  ReferenceValue out = MakeFloats(c.inputs[0], batch.rows(c.inputs[0].rows));
  for (size_t i = 0; i < out.floats.size(); ++i) {
    out.floats[i] = inputs[0]->floats[i] + inputs[1]->floats[i];
  }
  return out;
}

}  // namespace thimble
