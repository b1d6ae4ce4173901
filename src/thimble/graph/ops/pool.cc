#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {

// One row per sequence: its first token, or the mean of those that are not masked.
Result<ValueType> InferPool(const OpContext& c) {
  TRY(ValueType type, InferElementwise(c));
  if (type.rows != Rows::kTokens) return InvalidData("takes one row per token");
  type.rows = Rows::kSequences;
  return type;
}

Cost CostPool(const OpContext&, const Workload&) { return {}; }

Result<ReferenceValue> ReferencePool(const OpContext& c, const PackedBatch& batch,
                                     std::span<const ReferenceValue* const> inputs) {
  const bool mean = c.attr<PoolAttrs>().kind == PoolKind::kMean;
  const auto width = static_cast<size_t>(c.inputs[0].width);
  ReferenceValue out =
      MakeFloats({Element::kFloat32, Rows::kSequences, c.inputs[0].width}, batch.sequences());
  for (size_t s = 0; s < batch.sequences(); ++s) {
    const auto begin = static_cast<size_t>(batch.offsets[s]);
    const auto end = mean ? static_cast<size_t>(batch.offsets[s + 1]) : begin + 1;
    for (size_t column = 0; column < width; ++column) {
      double sum = 0;
      size_t counted = 0;
      for (size_t t = begin; t < end; ++t) {
        if (mean && !batch.mask.empty() && batch.mask[t] == 0) continue;
        sum += inputs[0]->floats[t * width + column];
        ++counted;
      }
      out.floats[s * width + column] =
          counted == 0 ? 0.0f : static_cast<float>(sum / static_cast<double>(counted));
    }
  }
  return out;
}

}  // namespace thimble
