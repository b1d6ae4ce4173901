// What the processes of one training run do together. One process is the common case and costs nothing.
#pragma once

#include <memory>
#include <span>

#include "thimble/base/result.h"
#include "thimble/train/torch.h"

namespace thimble::train {

class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Element by element over all ranks, in place. Fails, after a stated time, when a rank is gone.
  virtual Status Sum(at::Tensor& values) = 0;
  virtual Status Sum(std::span<double> values) = 0;
};

// A run of one process.
std::unique_ptr<Collective> SingleProcess();

}  // namespace thimble::train
