#include <cmath>

#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {

// y = x / |x| per row; zero stays zero.
Result<ValueType> InferL2Normalize(const OpContext& c) { return InferElementwise(c); }

Cost CostL2Normalize(const OpContext&, const Workload&) { return {}; }

Result<ReferenceValue> ReferenceL2Normalize(const OpContext& c, const PackedBatch& batch,
                                            std::span<const ReferenceValue* const> inputs) {
  const auto width = static_cast<size_t>(c.inputs[0].width);
  const size_t rows = batch.rows(c.inputs[0].rows);
  ReferenceValue out = MakeFloats(c.inputs[0], rows);
  for (size_t r = 0; r < rows; ++r) {
    const float* x = inputs[0]->floats.data() + r * width;
    double squares = 0;
    for (size_t i = 0; i < width; ++i) squares += static_cast<double>(x[i]) * x[i];
    const double norm = std::sqrt(squares);
    for (size_t i = 0; i < width; ++i) {
      out.floats[r * width + i] = norm > 0 ? static_cast<float>(x[i] / norm) : 0.0f;
    }
  }
  return out;
}

}  // namespace thimble
