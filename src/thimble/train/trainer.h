// The training loop: batches, gradients on several threads and ranks, clipping, AdamW, evaluation, early
// stopping, checkpoints.
//
// A global batch is cut into one shard per thread and rank; each runs forward and backward on a gradient
// buffer of its own, and the buffers are added in a fixed order. So a run repeats bit for bit with the same seed
// and the same number of shards, and is the same to float32 rounding with any other number. N ranks of T threads
// are one rank of N T threads bit for bit where T is a power of two, else to rounding.
// Everything random is a function of (seed, epoch or step, example): a run that resumes from a checkpoint ends
// with the very weights of one that was never interrupted.
//
// Ranks run the same loop on the same data. Rank 0 decides where ranks could differ (the norm, the clock, the score
// of an evaluation), reads and writes the checkpoint, and has the result; an error on one rank ends all.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/train/augment.h"
#include "thimble/train/batches.h"
#include "thimble/train/collective.h"
#include "thimble/train/executor.h"
#include "thimble/train/objective.h"
#include "thimble/train/optimizer.h"
#include "thimble/train/reparameterization.h"
#include "thimble/train/schedule.h"

namespace thimble::train {

struct TrainerOptions {
  int threads = 1;
  double epochs = 3;      // may be a fraction
  int64_t max_steps = 0;  // 0: as the epochs say
  double max_seconds =
      0;  // of training, evaluations included; the schedule follows the clock; 0: no limit
  int64_t accumulate = 1;  // batches per update
  BatchOptions batches;
  double rate = 5e-4;
  Schedule schedule;          // total_steps is set by the trainer
  double warmup_share = 0.1;  // of all steps, where schedule.warmup_steps is 0
  OptimizerOptions optimizer;
  ExecutorOptions executor;
  Augment augment;  // null: examples are used as they are
  uint64_t seed = 1;
  double evaluate_every = 1;  // epochs
  int64_t patience = 0;       // evaluations without a better score before stopping; 0: never
  std::string checkpoint;     // path; empty: none are written
  double checkpoint_seconds = 60;
  bool resume = false;  // from `checkpoint`, where it exists
  // What must be the same for a checkpoint to fit: data, recipe, architecture.
  std::string fingerprint;
  std::function<bool(std::string_view)> trainable;  // by name of weight; null: all
  // What the rate of a weight is multiplied with at a share of the run; 0 leaves the weight and its moments as they
  // are. Null: 1.
  std::function<double(std::string_view weight, double progress)> rate_factor;
  // Null: the graph is computed with what is trained. Must outlive the run.
  const Reparameterization* reparameterization = nullptr;
};

// On the validation set.
struct Evaluation {
  double score = 0;  // higher is better; chooses the weights that are kept
  std::vector<std::pair<std::string, double>> metrics;
};
using Evaluator = std::function<Result<Evaluation>(const Graph&)>;

struct StepReport {
  int64_t step = 0, total_steps = 0;  // total as expected now
  double epoch = 0, loss = 0, rate = 0, gradient_norm = 0;
  double tokens = 0, seconds = 0;     // of this step, all ranks
  double exchange_seconds = 0;        // of those: adding up gradients, waiting for slower ranks
  double elapsed = 0, remaining = 0;  // seconds of the run
  bool skipped = false;               // the gradient was not finite, no update was made
};

// On ranks other than 0, evaluations have a score only, and Save and OnResume are not called.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual Status OnStep(const StepReport&) { return {}; }
  virtual Status OnEvaluation(const Evaluation&, int64_t /*step*/, double /*epoch*/,
                              bool /*best*/) {
    return {};
  }
  // Before a checkpoint is written: what it must hold for OnResume.
  virtual Result<std::string> Save() { return std::string(); }
  virtual Status OnResume(const std::string& /*saved*/, int64_t /*step*/) { return {}; }
  // An error (kInterrupted) ends the run after a checkpoint was written.
  virtual Status CheckInterrupt() { return {}; }
};

struct TrainingResult {
  Graph graph;  // with the best weights by the evaluator, or the last ones without it
  std::optional<Evaluation> best;
  int64_t best_step = 0, steps = 0, skipped_steps = 0;
  double epochs = 0, seconds = 0, tokens = 0;
  bool stopped_early = false;
};

// `collective` null: one process. Without an evaluator the last weights are the result. All ranks are given an
// evaluator or none; rank 0 runs it, and only rank 0's result has `best` and the best weights.
Result<TrainingResult> Train(const Graph& graph, const Objective& objective,
                             const std::vector<TrainingExample>& examples,
                             const TrainerOptions& options, const Evaluator& evaluator,
                             TrainingObserver& observer, Collective* collective = nullptr);

}  // namespace thimble::train
