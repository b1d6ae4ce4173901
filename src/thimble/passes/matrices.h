// What passes over the types of weights have in common: which constants are matrices, and that
// weights which were tied before are tied afterwards.
#pragma once

#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

// The weight of a linear node or the table of an embedding.
inline bool IsMatrix(const Node& node, size_t weight_index) {
  return weight_index == 0 && (node.op == OpKind::kLinear || node.op == OpKind::kEmbedding);
}

// Converts tensors, each only once however often it is used.
template <class Convert>
class TiedConversion {
 public:
  explicit TiedConversion(Convert convert) : convert_(std::move(convert)) {}

  Status Apply(Weight& weight) {
    for (const auto& [from, to] : done_) {
      if (!from.SameAs(weight.tensor)) continue;
      weight.tensor = to;
      return {};
    }
    Result<Tensor> converted = convert_(weight.tensor);
    if (!converted) return std::move(converted).error().In("weight '" + weight.name + "'");
    done_.emplace_back(weight.tensor, *converted);
    weight.tensor = *std::move(converted);
    return {};
  }

 private:
  Convert convert_;
  std::vector<std::pair<Tensor, Tensor>> done_;
};

}  // namespace thimble
