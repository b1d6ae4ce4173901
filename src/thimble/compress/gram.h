// Second moments of what linears read: the Hessians of layer-wise pruning (Hassibi and Stork 1993; Frantar and Alistarh
// 2022), and the weights of activation-aware factorization.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/compress/calibration.h"
#include "thimble/formats/model.h"
#include "thimble/graph/graph.h"
#include "thimble/train/torch.h"

namespace thimble::compress {

struct Gram {
  at::Tensor
      sum;  // double [inputs, inputs]: the sum of x x^T over all rows x that the linear reads
  at::Tensor total;  // double [inputs]: the sum of x
  int64_t rows = 0;  // how many
};

struct GramOptions {
  int threads = 1;
  // Texts are used in their order until they have so many tokens, 0: all. Some ten per input are enough; products of
  // 3,072 inputs take as long as running the model.
  size_t max_tokens = 0;
  // Of all sums held at once (75 MB for 3,072 inputs); where they do not fit, the texts are run once per part of them.
  size_t memory_bytes = size_t{2} << 30;
};

// Calls `visit` once per group with the sums over what its linears read, as soon as they are complete; those of other
// groups may not exist yet or any more. `groups`: nodes of `graph`, linears; a group has one, or several that share a
// weight. Groups that read the same values see the same gram. The model runs in the runtime; products and sums are in
// double. Rows of masked tokens count like others: calibration texts have none.
// kInvalidArgument: a node that is no linear, a group of different widths. An error of `visit` or `progress` ends it.
Status VisitGrams(const Graph& graph, std::span<const std::vector<size_t>> groups,
                  const std::vector<train::TrainingExample>& examples, const GramOptions& options,
                  const ProgressFn& progress,
                  const std::function<Status(size_t group, const Gram& gram)>& visit);

// All of them at once, one per entry of `linears`.
Result<std::vector<Gram>> InputGrams(const Model& model, std::span<const size_t> linears,
                                     const std::vector<train::TrainingExample>& examples,
                                     const GramOptions& options, const ProgressFn& progress);

}  // namespace thimble::compress
