#include "thimble/train/libraries.h"

#include <ATen/Parallel.h>

// OpenBLAS has its own switch; other BLAS libraries do not have the symbol.
extern "C" void openblas_set_num_threads(int) __attribute__((weak));

namespace thimble::train {

void UseOneThreadPerCall() {
  at::set_num_threads(1);
  if (openblas_set_num_threads != nullptr) openblas_set_num_threads(1);
}

}  // namespace thimble::train
