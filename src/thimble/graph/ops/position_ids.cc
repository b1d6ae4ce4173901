#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {

Result<ValueType> InferPositionIds(const OpContext& c) {
  TRY_VOID(CheckInputCount(c, 1));
  TRY_VOID(CheckWeightCount(c, 0, 0));
  if (c.inputs[0].element != Element::kInt32 || c.inputs[0].rows != Rows::kTokens) {
    return InvalidData("takes token ids");
  }
  const auto& attrs = c.attr<PositionIdsAttrs>();
  if (attrs.offset < 0 || (attrs.skip_id >= 0 && attrs.offset == 0)) {
    return InvalidData("offset " + std::to_string(attrs.offset) + " gives negative positions");
  }
  if (attrs.offset > kMaxWidth) {
    return InvalidData("offset " + std::to_string(attrs.offset) + " is beyond every table");
  }
  return c.inputs[0];
}

Cost CostPositionIds(const OpContext&, const Workload&) { return {}; }

Result<ReferenceValue> ReferencePositionIds(const OpContext& c, const PackedBatch& batch,
                                            std::span<const ReferenceValue* const> inputs) {
  const auto& attrs = c.attr<PositionIdsAttrs>();
  ReferenceValue out{c.inputs[0], {}, std::vector<int32_t>(batch.tokens())};
  for (size_t s = 0; s < batch.sequences(); ++s) {
    int64_t next = attrs.offset;
    for (auto t = static_cast<size_t>(batch.offsets[s]);
         t < static_cast<size_t>(batch.offsets[s + 1]); ++t) {
      const bool skipped = attrs.skip_id >= 0 && inputs[0]->ints[t] == attrs.skip_id;
      out.ints[t] = static_cast<int32_t>(skipped ? attrs.offset - 1 : next++);
    }
  }
  return out;
}

}  // namespace thimble
