// What the graph is computed with, as a function of what is trained: masks on weights, for one.
//
//   used = Use(trained)          before every update, and for every evaluation
//   d/d trained = Pull(d/d used) after the gradients of all shards have been added up
//
// The trainer calls both on one thread; everything that they decide must follow from their arguments, so that runs
// repeat, resume and divide among ranks as they do without.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "thimble/train/parameters.h"
#include "thimble/train/torch.h"

namespace thimble::train {

class Reparameterization {
 public:
  virtual ~Reparameterization() = default;

  // Trained beside the weights of the graph.
  virtual std::vector<ExtraParameter> Extra() const = 0;
  // `values` and `used` are buffers like trained.values(); `used` is overwritten. `progress`: share of the run in [0, 1].
  virtual void Use(const ParameterSet& trained, const at::Tensor& values, double progress,
                   at::Tensor used) const = 0;
  // In place: gradients by what was used become gradients by what is trained, those of the penalty added. Returns
  // the penalty, which belongs to the loss.
  virtual double Pull(const ParameterSet& trained, const at::Tensor& values, double progress,
                      at::Tensor gradients) const = 0;
  // Whether weights of this moment may be the run's result: evaluations before count neither as best nor for patience.
  virtual bool Settled(double progress) const = 0;
};

}  // namespace thimble::train
