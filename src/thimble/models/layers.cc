#include "thimble/models/layers.h"

#include <cmath>

namespace thimble {

Weight Layers::Get(const std::string& name, const Shape& shape) {
  if (!builder_.ok()) return {name, Tensor()};
  Result<Tensor> tensor = weights_.Get(name, shape);
  if (!tensor.has_value()) {
    builder_.Fail(std::move(tensor).error());
    return {name, Tensor()};
  }
  return {name, *std::move(tensor)};
}

ValueId Layers::Positions(ValueId ids, PositionIdsAttrs attrs) {
  return builder_.Add(OpKind::kPositionIds, "position_ids", {ids}, {}, attrs);
}

ValueId Layers::Embedding(const std::string& name, ValueId ids, int64_t rows, int64_t width) {
  return builder_.Add(OpKind::kEmbedding, name, {ids}, {Get(name + ".weight", {rows, width})});
}

ValueId Layers::Trigram(const std::string& name, ValueId x) {
  return builder_.Add(OpKind::kTrigram, name, {x});
}

ValueId Layers::Linear(const std::string& name, ValueId x, int64_t outputs) {
  Weight weight = Get(name + ".weight", {outputs, Width(x)});
  const int64_t found = builder_.ok() ? weight.tensor.dim(0) : outputs;
  return Linear(name, x, std::move(weight), Get(name + ".bias", {found}));
}

ValueId Layers::Linear(const std::string& name, ValueId x, Weight weight, Weight bias) {
  return builder_.Add(OpKind::kLinear, name, {x}, {std::move(weight), std::move(bias)});
}

ValueId Layers::LayerNormFrom(const std::string& weights, const std::string& name, ValueId x,
                              double epsilon) {
  const int64_t width = Width(x);
  return builder_.Add(OpKind::kLayerNorm, name, {x},
                      {Get(weights + ".weight", {width}), Get(weights + ".bias", {width})},
                      LayerNormAttrs{epsilon});
}

ValueId Layers::Affine(const std::string& name, ValueId x) {
  const int64_t width = Width(x);
  return builder_.Add(OpKind::kAffine, name, {x},
                      {Get(name + ".weight", {width}), Get(name + ".bias", {width})});
}

ValueId Layers::Act(const std::string& name, ValueId x, Activation function) {
  if (function == Activation::kIdentity) return x;
  return builder_.Add(OpKind::kActivation, name, {x}, {}, ActivationAttrs{function});
}

ValueId Layers::Add(const std::string& name, ValueId x, ValueId y) {
  return builder_.Add(OpKind::kAdd, name, {x, y});
}

ValueId Layers::Attention(const std::string& name, ValueId q, ValueId k, ValueId v, int64_t heads) {
  const double head_width = static_cast<double>(Width(q)) / static_cast<double>(heads);
  return builder_.Add(OpKind::kAttention, name, {q, k, v}, {},
                      AttentionAttrs{heads, 1.0 / std::sqrt(head_width)});
}

ValueId Layers::Pool(const std::string& name, ValueId x, PoolKind kind) {
  return builder_.Add(OpKind::kPool, name, {x}, {}, PoolAttrs{kind});
}

ValueId Layers::L2Normalize(const std::string& name, ValueId x) {
  return builder_.Add(OpKind::kL2Normalize, name, {x});
}

Weight Layers::Transposed(const Weight& weight) {
  if (!builder_.ok()) return weight;
  const std::vector<float> from = weight.tensor.ToFloats();
  const auto rows = static_cast<size_t>(weight.tensor.dim(0));
  const auto cols = static_cast<size_t>(weight.tensor.dim(1));
  std::vector<float> to(from.size());
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < cols; ++c) to[c * rows + r] = from[r * cols + c];
  }
  return {weight.name, Tensor::FromFloats({weight.tensor.dim(1), weight.tensor.dim(0)}, to)};
}

}  // namespace thimble
