// Second moments of what linears read, over calibration examples: sum of x x^T in double. They are what layer-wise
// pruning (obs.h), activation-aware factorization and quantization need to know of the data.
//
//   TRY_VOID(VisitGrams(graph, {{consumer}}, examples, {.threads = 2}, [&](size_t, const Gram& gram) { ... }));
//
// The fast runtime computes the inputs, as additional outputs of a copy of the graph. A gram of width w takes 8 w^2
// bytes (75 MB for 3072); where those of all groups do not fit, the model runs several times, each time for some.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/passes/structures.h"
#include "thimble/train/examples.h"

namespace thimble::compress {

struct Gram {
  int64_t width = 0;
  int64_t rows = 0;         // how many x were summed: tokens, or sequences behind a pool
  std::vector<double> sum;  // [width, width], symmetric, row-major
  std::vector<double> total;  // [width]: sum of x

  double at(int64_t i, int64_t j) const { return sum[static_cast<size_t>(i * width + j)]; }
};

struct GramOptions {
  int threads = 1;
  // Examples are used in their order until they have this many tokens. About 20 per input column are enough.
  size_t max_tokens = 65536;
  size_t batch_tokens = 1024;
  size_t max_bytes = size_t{2} << 30;  // of grams at once; a single one may exceed it
  // Told the share done; an error it returns ends the work.
  std::function<Status(double)> progress;
};

// `groups`: nodes of `graph`, linears all; a group is several that share a weight (ALBERT), whose moments are summed.
// `visit` gets the index of each group once, in any order; groups that read the same value see the same gram. What it
// returns as an error ends the work. kInvalidArgument: a node that is no linear, linears of a group that differ in
// width; kInvalidData: no examples, inputs that are not finite.
Status VisitGrams(const Graph& graph, std::span<const std::vector<size_t>> groups,
                  std::span<const train::TrainingExample> examples, const GramOptions& options,
                  const std::function<Status(size_t group, const Gram& gram)>& visit);

// The consumers of a structure in all of its places: a group.
std::vector<size_t> Consumers(const Structure& structure);

}  // namespace thimble::compress
