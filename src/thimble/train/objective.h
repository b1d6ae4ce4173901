// What is minimised.
//
// An objective turns examples into a batch, names the values of the graph that it reads, and gives the SUM of
// its losses over a batch together with how much that sum weighs. The trainer divides by the weight of the
// whole global batch, so that shards, threads and machines add up to what one of them would compute alone.
// Thread-safety: const methods are called from several threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/graph/task.h"
#include "thimble/runtime/session.h"
#include "thimble/train/examples.h"
#include "thimble/train/torch.h"

namespace thimble::train {

struct TrainingBatch {
  std::vector<const TrainingExample*> examples;
  Batch tokens;
  std::vector<uint32_t> sequence_keys;
  // Masked language modelling: rows of the batch that are predicted, and the ids that belong there.
  std::vector<int64_t> logit_rows;
  std::vector<int64_t> masked_ids;
  double progress = 0;  // share of the run that is done, in [0, 1]; set by the trainer
};

class Objective {
 public:
  virtual ~Objective() = default;

  // Values of the graph that Loss reads, in that order.
  virtual std::vector<ValueId> Values() const = 0;
  // `step_key` decides what is random about the batch.
  virtual TrainingBatch Prepare(std::span<const TrainingExample* const> examples,
                                uint32_t step_key) const;
  virtual double Weight(const TrainingBatch& batch) const {
    return static_cast<double>(batch.examples.size());
  }
  // A scalar: the sum over the batch.
  virtual at::Tensor Loss(const TrainingBatch& batch, std::span<const at::Tensor> values) const = 0;
};

struct TaskLossOptions {
  // One factor per label (kSingleLabel, kTokenLabels: of the examples of that class; kMultiLabel: of the
  // positive term); empty: 1.
  std::vector<float> class_weights;
  // Focal loss (Lin et al. 2017): times (1 - p)^gamma; 0: off.
  double focal_gamma = 0;
  // Logit adjustment (Menon et al. 2021): tau times the log of each label's share in the training data is
  // added to the logits while training; 0: off. Needs `priors`.
  double adjust_tau = 0;
  std::vector<float> priors;
  double label_smoothing = 0;
};

// The usual loss of a task on the graph's "logits": cross entropy (kSingleLabel, kTokenLabels; with soft labels
// where examples carry scores), binary cross entropy averaged over labels (kMultiLabel), squared error
// (kRegression), the mean of the cross entropies of both ends (kAnswers).
Result<std::unique_ptr<Objective>> TaskObjective(const Graph& graph, Task task,
                                                 TaskLossOptions options = {});

struct MaskingOptions {
  double probability =
      0.15;  // of tokens; 80 % become [MASK], 10 % a random id, 10 % stay (Devlin et al. 2019)
  bool whole_words = false;
  int32_t mask_id = 0;
  int32_t vocabulary = 0;
  std::vector<int32_t> special_ids;     // never masked
  std::vector<uint8_t> continues_word;  // per id: 1 for pieces that continue a word
};

// Cross entropy of the masked tokens; the weight of a batch is how many there are.
Result<std::unique_ptr<Objective>> MaskedLmObjective(const Graph& graph, MaskingOptions options);

}  // namespace thimble::train
