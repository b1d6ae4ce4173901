#include "thimble/train/libraries.h"

#include <ATen/Parallel.h>

// OpenBLAS has its own switch; other BLAS libraries do not have the symbol.
extern "C" void openblas_set_num_threads(int) __attribute__((weak));

namespace thimble::train {

namespace {

void SetThreads(int threads) {
  at::set_num_threads(threads);
  if (openblas_set_num_threads != nullptr) openblas_set_num_threads(threads);
}

}  // namespace

void UseOneThreadPerCall() { SetThreads(1); }

ThreadsPerCall::ThreadsPerCall(int threads) { SetThreads(threads); }

}  // namespace thimble::train
