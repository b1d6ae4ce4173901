// One operation outside any graph, for the tests of operations.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "thimble/graph/ops.h"

namespace thimble {

// A float matrix [values / width, width], and a column of ids.
inline ReferenceValue Floats(int64_t width, std::vector<float> values, Rows rows = Rows::kTokens) {
  return {{Element::kFloat32, rows, width}, std::move(values), {}};
}
inline ReferenceValue Ids(std::vector<int32_t> ids) {
  return {{Element::kInt32, Rows::kTokens, 1}, {}, std::move(ids)};
}

struct OpCall {
  OpKind op;
  std::vector<ReferenceValue> inputs;
  std::vector<Tensor> weights = {};
  Attributes attrs = NoAttrs{};
  std::vector<int32_t> offsets = {};  // empty: one sequence
  std::vector<uint8_t> mask = {};

  std::vector<ValueType> InputTypes() const {
    std::vector<ValueType> types;
    for (const ReferenceValue& input : inputs) types.push_back(input.type);
    return types;
  }

  Result<ValueType> Infer() const {
    const std::vector<ValueType> types = InputTypes();
    return GetOp(op).infer({attrs, types, weights});
  }

  // What the shape rule says to a call that it must refuse.
  std::string Refusal() const {
    const Result<ValueType> type = Infer();
    return type.has_value() ? "accepted" : type.error().message();
  }

  Cost CostAt(const Workload& workload) const {
    const std::vector<ValueType> types = InputTypes();
    return GetOp(op).cost({attrs, types, weights}, workload);
  }

  // Shape rule, then reference; the two must agree on the type.
  Result<ReferenceValue> Run() const {
    TRY(const ValueType type, Infer());
    std::vector<int32_t> bounds = offsets;
    if (bounds.empty()) {
      const ReferenceValue& first = inputs.at(0);
      bounds = {0, static_cast<int32_t>((first.ints.size() + first.floats.size()) /
                                        static_cast<size_t>(first.type.width))};
    }
    const std::vector<ValueType> types = InputTypes();
    std::vector<const ReferenceValue*> arguments;
    for (const ReferenceValue& input : inputs) arguments.push_back(&input);
    TRY(ReferenceValue value,
        GetOp(op).reference({attrs, types, weights}, PackedBatch{bounds, mask}, arguments));
    THIMBLE_CHECK(value.type == type);
    return value;
  }
};

}  // namespace thimble
