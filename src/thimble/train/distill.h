// Distillation: a student learns from what a teacher computes on the same texts.
//
// The teacher runs once per example in the fast runtime, and its outputs are kept on disk (TeacherCache), so that
// every epoch after the first costs only the student. The losses compare, for pairs of layers (student, teacher):
//
//   logits       KL(teacher || student) at a temperature T, times T^2 (Hinton et al. 2015); for several labels the
//                binary cross entropies against the teacher's probabilities
//   hidden       mean squared error of hidden states, through a learned projection where widths differ
//                (Jiao et al. 2019)
//   attention    KL of attention probabilities per head and query (Wang et al. 2020), or MSE of the raw scores
//   values       KL of the relations softmax(v v^T / sqrt(width)) (Wang et al. 2020)
//   embedding    of a sentence encoder: 1 - cosine of the pooled outputs, through a learned projection
//
// Student and teacher must cut texts into the same tokens for all but `logits` and `embedding`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/train/examples.h"
#include "thimble/train/objective.h"
#include "thimble/train/teacher_cache.h"

namespace thimble::train {

struct DistillOptions {
  double task = 0.5;  // weight of the labelled loss; the others are added to it
  double logits = 0.5, hidden = 0, attention = 0, scores = 0, values = 0, embedding = 0;
  double temperature = 2;
  // Blocks of the student and of the teacher that are compared, embeddings counted as -1 (hidden only); empty:
  // every student block with the one that is as deep (TinyBERT: m -> (m + 1) N / M - 1), embeddings with
  // embeddings.
  std::vector<std::pair<int, int>> layers;
  int relation_heads = 0;  // of `values`; 0: those of the teacher
  // Hidden states are compared after a layer norm without scale and shift (MobileBERT's feature map transfer): what
  // matters is their direction, not their size.
  bool normalize_hidden = false;
  // MobileBERT's progressive knowledge transfer (Sun et al. 2020): for this share of the run the student's blocks
  // are taught one after another, each by the losses of its own layers alone, for equal times; then come all
  // losses together. 0: together from the start. ProgressiveRates says how fast each block learns meanwhile.
  double progressive = 0;
};

// The student's graph with what distillation adds to it: projections called "distill.*", which
// WithoutDistillation takes away again.
struct DistillPlan {
  Graph graph;
  std::vector<std::string>
      teacher_outputs;  // what the cache must hold, names of outputs of `teacher`
  Graph teacher;        // the teacher with these outputs
  // For the objective, in the order of the losses:
  struct Pair {
    enum class Kind : uint8_t { kLogits, kHidden, kAttention, kScores, kValues, kEmbedding } kind;
    double weight = 1;
    std::vector<ValueId> student;  // of graph
    std::vector<size_t> teacher;   // indices into teacher_outputs
    int64_t student_heads = 1, teacher_heads = 1;
    double student_scale = 1, teacher_scale = 1;
    int block = -1;  // of the student; -1: of none (logits, embeddings)
  };
  std::vector<Pair> pairs;
  std::vector<int> taught;  // blocks of the student that have pairs, in rising order
};

// kInvalidArgument where the two do not fit: other labels, a layer that is not there, losses that need equal heads.
Result<DistillPlan> PlanDistillation(const Graph& student, const Graph& teacher, uint64_t seed,
                                     const DistillOptions& options);
Result<Graph> WithoutDistillation(const Graph& trained);

// For TrainerOptions::rate_factor, where `options.progressive` is above 0. In a block's own phase its weights learn at
// the full rate, before it not at all, afterwards at a tenth; embeddings and head wait for the end of the last phase.
std::function<double(std::string_view weight, double progress)> ProgressiveRates(
    const DistillPlan& plan, const DistillOptions& options);

// `task` may be null (general distillation on unlabelled text). `cache` must outlive the objective.
std::unique_ptr<Objective> DistillObjective(const DistillPlan& plan, const DistillOptions& options,
                                            Task kind, std::unique_ptr<Objective> task,
                                            const TeacherCache& cache);

}  // namespace thimble::train
