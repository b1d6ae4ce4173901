// Second moments of what linears read: the Hessians of layer-wise pruning (Hassibi and Stork 1993; Frantar and Alistarh
// 2022), and the weights of activation-aware factorization.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/compress/calibration.h"
#include "thimble/formats/model.h"
#include "thimble/train/torch.h"

namespace thimble::compress {

struct Gram {
  at::Tensor
      sum;  // double [inputs, inputs]: the sum of x x^T over all rows x that the linear reads
  int64_t rows = 0;  // how many
};

struct GramOptions {
  int threads = 1;
  // Of all sums held at once; where they do not fit, the texts are run once per group of linears.
  size_t memory_bytes = size_t{2} << 30;
};

// One per entry of `linears`, which are nodes of model.graph. The model runs in the runtime; products and sums are in
// double. Rows of masked tokens count like others: calibration texts have none.
Result<std::vector<Gram>> InputGrams(const Model& model, std::span<const size_t> linears,
                                     const std::vector<train::TrainingExample>& examples,
                                     const GramOptions& options, const ProgressFn& progress);

}  // namespace thimble::compress
