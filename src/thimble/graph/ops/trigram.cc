#include <algorithm>

#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {

// Next, current and previous token side by side, zeros beyond the ends of a sequence
// (MobileBERT, Sun et al. 2020, section 3.1).
Result<ValueType> InferTrigram(const OpContext& c) {
  TRY(ValueType type, InferElementwise(c));
  if (type.rows != Rows::kTokens) return InvalidData("takes one row per token");
  type.width *= 3;
  return type;
}

Cost CostTrigram(const OpContext&, const Workload&) { return {}; }

Result<ReferenceValue> ReferenceTrigram(const OpContext& c, const PackedBatch& batch,
                                        std::span<const ReferenceValue* const> inputs) {
  ValueType type = c.inputs[0];
  type.width *= 3;
  ReferenceValue out = MakeFloats(type, batch.tokens());
  const auto width = static_cast<size_t>(c.inputs[0].width);
  for (size_t s = 0; s < batch.sequences(); ++s) {
    for (int64_t t = batch.offsets[s]; t < batch.offsets[s + 1]; ++t) {
      const int64_t sources[] = {t + 1, t, t - 1};
      for (size_t part = 0; part < 3; ++part) {
        const int64_t from = sources[part];
        if (from < batch.offsets[s] || from >= batch.offsets[s + 1]) continue;
        const float* row = inputs[0]->floats.data() + static_cast<size_t>(from) * width;
        std::copy(row, row + width,
                  out.floats.data() + (static_cast<size_t>(t) * 3 + part) * width);
      }
    }
  }
  return out;
}

}  // namespace thimble
