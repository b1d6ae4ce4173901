// Small graphs with random weights for the tests of this folder: every operation, fusable and not.
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "thimble/graph/graph.h"
#include "thimble/graph/panels.h"

namespace thimble {

class TestGraph {
 public:
  explicit TestGraph(DType weights = DType::kF32, uint32_t seed = 1)
      : weights_(weights), rng_(seed) {}

  std::vector<float> Random(size_t n, float spread, float center = 0) {
    std::uniform_real_distribution<float> uniform(center - spread, center + spread);
    std::vector<float> values(n);
    for (float& v : values) v = uniform(rng_);
    return values;
  }

  Weight Vector(const std::string& name, int64_t n, float center = 0) {
    return {name, Tensor::FromFloats({n}, Random(static_cast<size_t>(n), 0.3f, center))};
  }

  // A linear weight in panels, in the type under test; the spread keeps activations near 1.
  Weight Matrix(const std::string& name, int64_t outputs, int64_t inputs) {
    const float spread = std::sqrt(3.0f / static_cast<float>(inputs));
    const Tensor f32 = Tensor::FromFloats({outputs, inputs},
                                          Random(static_cast<size_t>(outputs * inputs), spread));
    return {name, PackPanels(Convert(f32))};
  }

  Weight Table(const std::string& name, int64_t rows, int64_t width) {
    return {name, Convert(Tensor::FromFloats({rows, width},
                                             Random(static_cast<size_t>(rows * width), 1.0f)))};
  }

  ValueId Linear(Builder& b, const std::string& name, ValueId x, int64_t outputs,
                 bool bias = true) {
    std::vector<Weight> weights{Matrix(name + ".weight", outputs, b.type(x).width)};
    if (bias) weights.push_back(Vector(name + ".bias", outputs));
    return b.Add(OpKind::kLinear, name, {x}, std::move(weights));
  }

  ValueId Norm(Builder& b, OpKind op, const std::string& name, ValueId x) {
    const int64_t width = b.type(x).width;
    Attributes attrs = NoAttrs{};
    if (op == OpKind::kLayerNorm) attrs = LayerNormAttrs{1e-5};
    return b.Add(op, name, {x},
                 {Vector(name + ".weight", width, 1.0f), Vector(name + ".bias", width)}, attrs);
  }

  // Two blocks with everything a MobileBERT and a BERT have; widths that are no multiples of 16.
  Graph Encoder() {
    Builder b;
    const ValueId ids = b.Input(kInputIds);
    const ValueId types = b.Input(kTokenTypeIds);
    const ValueId positions =
        b.Add(OpKind::kPositionIds, "positions", {ids}, {}, PositionIdsAttrs{});
    ValueId x = b.Add(OpKind::kEmbedding, "words", {ids}, {Table("words", 50, 20)});
    x = b.Add(OpKind::kTrigram, "trigram", {x});
    x = Linear(b, "widen", x, kHidden);
    x = b.Add(OpKind::kAdd, "add_positions",
              {x, b.Add(OpKind::kEmbedding, "positions_table", {positions},
                        {Table("positions", 64, kHidden)})});
    x = b.Add(OpKind::kAdd, "add_types",
              {x, b.Add(OpKind::kEmbedding, "types_table", {types}, {Table("types", 2, kHidden)})});
    x = Norm(b, OpKind::kLayerNorm, "embedding_norm", x);
    for (int layer = 0; layer < 2; ++layer) x = Block(b, "layer" + std::to_string(layer) + ".", x);
    b.Output("last_hidden_state", x);
    ValueId pooled = b.Add(OpKind::kPool, "first", {x}, {}, PoolAttrs{PoolKind::kFirst});
    pooled = Linear(b, "pooler", pooled, kHidden);
    pooled =
        b.Add(OpKind::kActivation, "pooler_tanh", {pooled}, {}, ActivationAttrs{Activation::kTanh});
    b.Output("logits", Linear(b, "classifier", pooled, 3));
    ValueId mean = b.Add(OpKind::kPool, "mean", {x}, {}, PoolAttrs{PoolKind::kMean});
    b.Output("embedding", b.Add(OpKind::kL2Normalize, "unit", {mean}));
    return *std::move(b).Finish(64);
  }

  static constexpr int64_t kHidden = 36;

 private:
  Tensor Convert(const Tensor& f32);

  ValueId Block(Builder& b, const std::string& p, ValueId x) {
    ValueId z = Norm(b, OpKind::kAffine, p + "bottleneck_norm", Linear(b, p + "bottleneck", x, 24));
    const ValueId q = Linear(b, p + "q", z, 24);
    const ValueId k = Linear(b, p + "k", z, 24, /*bias=*/false);
    const ValueId v = Linear(b, p + "v", x, 20);
    ValueId a = b.Add(OpKind::kAttention, p + "attention", {q, k, v}, {},
                      AttentionAttrs{2, 1.0 / std::sqrt(12.0)});
    a = Linear(b, p + "attention_out", a, 24);
    a = Norm(b, OpKind::kAffine, p + "attention_norm", b.Add(OpKind::kAdd, p + "residual", {a, z}));
    ValueId f = Linear(b, p + "ffn_in", a, 50);
    f = b.Add(OpKind::kActivation, p + "act", {f}, {}, ActivationAttrs{Activation::kGelu});
    f = b.Add(OpKind::kAdd, p + "residual2", {a, Linear(b, p + "ffn_out", f, 24)});
    f = Norm(b, OpKind::kLayerNorm, p + "ffn_norm", f);
    return Norm(b, OpKind::kAffine, p + "out_norm",
                b.Add(OpKind::kAdd, p + "residual3", {Linear(b, p + "out", f, kHidden), x}));
  }

  DType weights_;
  std::mt19937 rng_;
};

}  // namespace thimble
