// A model's outputs against a data set, as GLUE, SQuAD and TweetEval define it. Definitions: docs/data.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/dataset.h"

namespace thimble {

// What a model said about one example.
struct TaskOutput {
  // kSingleLabel: probabilities or logits (the largest counts); kMultiLabel: probabilities;
  // kRegression: the value first. At least one per known label of the data set; more are allowed (labels
  // that only the model knows) and count as wrong when they win.
  std::vector<float> scores;
  std::string answer;  // kAnswers; empty: no answer
  // kAnswers: how sure the model is of `answer` and of there being none; only their difference counts.
  float answer_score = 0, no_answer_score = 0;
  std::vector<int32_t> word_labels;  // kTokenLabels: one per word; -1: none (the word was cut off)
};

struct Metric {
  std::string name;
  double value = 0;
  double low = 0,
         high = 0;  // 95 % interval by bootstrap over examples; equal to value without samples
};

struct PerLabel {
  std::string label;
  double precision = 0, recall = 0, f1 = 0;
  size_t support = 0;  // examples (entities for kTokenLabels) that have it
};

struct TaskMetrics {
  std::vector<Metric> metrics;  // the first is the task's main one
  std::vector<PerLabel> per_label;
  std::vector<std::vector<size_t>> confusion;  // kSingleLabel: [gold][predicted]
  size_t examples = 0;

  const Metric* Find(std::string_view name) const;
};

struct MetricOptions {
  // kMultiLabel: a label applies when its probability is at least this; empty: 0.5 for all, one value: for all.
  std::vector<float> thresholds;
  size_t bootstrap_samples = 1000;  // 0: no intervals
  uint64_t seed = 1;
  std::string main;  // this metric first; empty: the task's usual one
};

// One output per example, in order. Fails if counts do not match, the task has no metrics, a score is not a
// number, or `main` is not among the task's metrics.
Result<TaskMetrics> ComputeMetrics(const Dataset& data, std::span<const TaskOutput> outputs,
                                   const MetricOptions& options = {});

}  // namespace thimble
