// AdamW with clipping and a moving average of the weights, over the buffers of a ParameterSet.
#pragma once

#include <cstdint>

#include "thimble/base/thread_pool.h"
#include "thimble/train/parameters.h"
#include "thimble/train/torch.h"

namespace thimble::train {

struct OptimizerOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0.01;  // of parameters that decay
  double clip_norm = 1.0;      // of the global gradient; 0: off
  double average_decay = 0;    // of the moving average of the weights; 0: none is kept
};

// What changes from step to step, laid out like ParameterSet::values(); saved in checkpoints.
struct OptimizerState {
  at::Tensor first, second;  // moments
  at::Tensor average;        // undefined without a moving average
  int64_t step = 0;          // updates done
};

class Optimizer {
 public:
  // `parameters` must outlive the optimizer.
  Optimizer(ParameterSet& parameters, const OptimizerOptions& options);

  // Norm of the gradient as it is; infinite or not a number where an element is.
  double GradientNorm(const at::Tensor& gradients, ThreadPool& pool) const;
  // One update with the given rate. `norm` is what GradientNorm gave; it must be finite.
  void Step(const at::Tensor& gradients, double rate, double norm, ThreadPool& pool);

  // The weights to evaluate and to keep: the moving average where there is one.
  const at::Tensor& Evaluated() const;

  OptimizerState& state() { return state_; }
  const OptimizerState& state() const { return state_; }

 private:
  ParameterSet* parameters_;
  OptimizerOptions options_;
  OptimizerState state_;
};

}  // namespace thimble::train
