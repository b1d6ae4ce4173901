// The layers that architectures are written with: an operation of the graph plus the weights that a
// checkpoint stores under the layer's name ("<name>.weight", "<name>.bias").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "thimble/graph/graph.h"
#include "thimble/models/architecture.h"

namespace thimble {

// Errors stick, as in Builder: after the first one every call returns kNoValue.
class Layers {
 public:
  explicit Layers(WeightSource& weights) : weights_(weights) {}

  ValueId Input(std::string_view name) { return builder_.Input(name); }
  void Output(std::string_view name, ValueId value) { builder_.Output(name, value); }
  bool Has(const std::string& name) const { return weights_.Has(name); }
  int64_t Width(ValueId x) const { return builder_.type(x).width; }
  void Fail(Error error) { builder_.Fail(std::move(error)); }
  Result<Graph> Finish(int64_t max_sequence_length) && {
    return std::move(builder_).Finish(max_sequence_length);
  }

  // The weight "<name>" as the checkpoint has it; a dimension of -1 takes what is there.
  Weight Get(const std::string& name, const Shape& shape);

  ValueId Positions(ValueId ids, PositionIdsAttrs attrs = {});
  ValueId Embedding(const std::string& name, ValueId ids, int64_t rows, int64_t width);
  ValueId Trigram(const std::string& name, ValueId x);
  // outputs = -1: as many as the checkpoint's weight has.
  ValueId Linear(const std::string& name, ValueId x, int64_t outputs);
  // With a weight that stands elsewhere, as tied decoders have it.
  ValueId Linear(const std::string& name, ValueId x, Weight weight, Weight bias);
  ValueId LayerNorm(const std::string& name, ValueId x, double epsilon) {
    return LayerNormFrom(name, name, x, epsilon);
  }
  // With weights that stand under another name than the node.
  ValueId LayerNormFrom(const std::string& weights, const std::string& name, ValueId x,
                        double epsilon);
  ValueId Affine(const std::string& name, ValueId x);
  ValueId Act(const std::string& name, ValueId x, Activation function);
  ValueId Add(const std::string& name, ValueId x, ValueId y);
  // Scores scaled by 1 / sqrt(head width).
  ValueId Attention(const std::string& name, ValueId q, ValueId k, ValueId v, int64_t heads);
  ValueId Pool(const std::string& name, ValueId x, PoolKind kind);
  ValueId First(const std::string& name, ValueId x) { return Pool(name, x, PoolKind::kFirst); }
  ValueId L2Normalize(const std::string& name, ValueId x);
  // [inputs, outputs] of a matrix that stands transposed in the checkpoint.
  Weight Transposed(const Weight& weight);

 private:
  WeightSource& weights_;
  Builder builder_;
};

}  // namespace thimble
