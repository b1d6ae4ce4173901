// Where weights come from when there is no checkpoint: drawn at random, or inherited from a larger model.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/models/architecture.h"

namespace thimble::train {

// Matrices and tables are normal with mean 0 and standard deviation `spread`, cut off at two of them (Devlin et
// al. 2019); gains (vectors called ".weight") are 1, biases 0. A tensor depends on seed and name only.
class RandomWeights : public WeightSource {
 public:
  RandomWeights(uint64_t seed, double spread) : seed_(seed), spread_(spread) {}
  Result<Tensor> Get(std::string_view name, const Shape& shape) override;
  bool Has(std::string_view) const override { return true; }

 private:
  uint64_t seed_;
  double spread_;
  std::map<std::string, Tensor, std::less<>> made_;  // what is asked for twice is tied
};

struct Inheritance {
  // layers[i]: the layer of the larger model that layer i starts from; empty: spread evenly, the last one
  // included (TinyBERT: i -> (i + 1) N / M - 1).
  std::vector<int> layers;
};

// Weights of `from` under the same name, with layer numbers ("layer.3.") mapped; of a larger tensor the leading
// part of every dimension, scaled so that sums over the missing inputs keep their size; what has no counterpart
// comes from `random`.
class InheritedWeights : public WeightSource {
 public:
  // `layers`: how many the new model has.
  static Result<InheritedWeights> Create(const Graph& from, int layers, const Inheritance& options,
                                         RandomWeights random);
  Result<Tensor> Get(std::string_view name, const Shape& shape) override;
  bool Has(std::string_view) const override { return true; }
  size_t inherited() const { return inherited_; }  // tensors that have come from the larger model

 private:
  InheritedWeights(RandomWeights random) : random_(std::move(random)) {}

  std::map<std::string, Tensor, std::less<>> from_;
  std::vector<int> layers_;
  RandomWeights random_;
  std::map<std::string, Tensor, std::less<>> made_;
  size_t inherited_ = 0;
};

}  // namespace thimble::train
