#include <algorithm>

#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {

Result<ValueType> InferEmbedding(const OpContext& c) {
  TRY_VOID(CheckInputCount(c, 1));
  TRY_VOID(CheckWeightCount(c, 1, 1));
  if (c.inputs[0].element != Element::kInt32) return InvalidData("takes ids, not numbers");
  TRY_VOID(CheckMatrix(c, 0));
  if (c.weights[0].layout() != Layout::kRowMajor) return InvalidData("its table must be row-major");
  return ValueType{Element::kFloat32, c.inputs[0].rows, c.weights[0].dim(1)};
}

// Only the rows that are looked up are read.
Cost CostEmbedding(const OpContext& c, const Workload& workload) {
  const double row_bytes = WeightBytes(c) / static_cast<double>(c.weights[0].dim(0));
  return {0, row_bytes * static_cast<double>(workload.rows(c.inputs[0].rows))};
}

Result<ReferenceValue> ReferenceEmbedding(const OpContext& c, const PackedBatch&,
                                          std::span<const ReferenceValue* const> inputs) {
  const std::vector<float> table = c.weights[0].ToFloats();
  const auto width = static_cast<size_t>(c.weights[0].dim(1));
  const std::vector<int32_t>& ids = inputs[0]->ints;
  ReferenceValue out =
      MakeFloats({Element::kFloat32, c.inputs[0].rows, c.weights[0].dim(1)}, ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= c.weights[0].dim(0)) {
      return InvalidArgument("id " + std::to_string(ids[i]) + " is not in the table of " +
                             std::to_string(c.weights[0].dim(0)) + " rows");
    }
    const float* row = table.data() + static_cast<size_t>(ids[i]) * width;
    std::copy(row, row + width, out.floats.data() + i * width);
  }
  return out;
}

}  // namespace thimble
