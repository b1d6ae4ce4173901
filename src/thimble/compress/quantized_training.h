// Quantization-aware training: a graph is trained as it will be computed with the codes of another, its weights rounded
// to codes before every update and the inputs of int8 products as the runtime rounds them. Gradients pass straight
// through the rounding to float weights that are kept beside (Bengio et al. 2013; Jacob et al. 2018).
//
// Scales follow the weights: each update quantizes anew, by the very functions that write the result, so that what was
// trained is what is stored.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/train/reparameterization.h"

namespace thimble::compress {

class QuantizedWeights : public train::Reparameterization {
 public:
  // The types of the weights of `quantized`, by name. Parameters without one there, or float32 there, are used as they
  // are.
  explicit QuantizedWeights(const Graph& quantized);

  std::vector<train::ExtraParameter> Extra() const override { return {}; }
  // A weight with values that are not finite is used as it is: the trainer skips such an update.
  void Use(const train::ParameterSet& trained, const at::Tensor& values, double progress,
           at::Tensor used) const override;
  double Pull(const train::ParameterSet&, const at::Tensor&, double, at::Tensor) const override {
    return 0;
  }
  bool Settled(double) const override { return true; }

 private:
  std::vector<std::pair<std::string, Tensor>> types_;
};

// What training starts from: `quantized` with the float weights of `original`, which has its nodes, where it has codes.
Graph FloatWeights(const Graph& original, const Graph& quantized);

// The nodes of `trained` that are in `quantized` with the types, and the scales of inputs, that they have there.
Result<Graph> WithTypesOf(const Graph& trained, const Graph& quantized);

// Per node of `trained`: whether it is an int8 linear in `quantized`, which rounds each row of its input by a scale of
// its own. For train::ExecutorOptions::rounded_rows.
std::vector<bool> RoundedRows(const Graph& trained, const Graph& quantized);

}  // namespace thimble::compress
