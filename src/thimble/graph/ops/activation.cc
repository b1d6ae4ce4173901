#include "thimble/graph/activation.h"

#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {

Result<ValueType> InferActivation(const OpContext& c) { return InferElementwise(c); }

Cost CostActivation(const OpContext&, const Workload&) { return {}; }

Result<ReferenceValue> ReferenceActivation(const OpContext& c, const PackedBatch& batch,
                                           std::span<const ReferenceValue* const> inputs) {
  const Activation function = c.attr<ActivationAttrs>().function;
  ReferenceValue out = MakeFloats(c.inputs[0], batch.rows(c.inputs[0].rows));
  for (size_t i = 0; i < out.floats.size(); ++i) {
    out.floats[i] = static_cast<float>(ApplyActivation(function, inputs[0]->floats[i]));
  }
  return out;
}

}  // namespace thimble
