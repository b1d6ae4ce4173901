// A task's metrics as functions of how often each example counts, which is all that the bootstrap needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/dataset.h"
#include "thimble/metrics/metrics.h"

namespace thimble {

class Scorer {
 public:
  virtual ~Scorer() = default;

  // Names of the metrics, the task's main one first.
  const std::vector<std::string>& names() const { return names_; }
  // Their values where example i counts weights[i] times. Not thread-safe: it keeps its memory.
  virtual void Score(std::span<const uint32_t> weights, std::span<double> values) = 0;
  // What is not one number: the report per label, the confusion matrix. Every example counts once.
  virtual void Describe(TaskMetrics& out) const { (void)out; }

 protected:
  std::vector<std::string> names_;
};

using ScorerOrError = Result<std::unique_ptr<Scorer>>;

// Both must outlive the scorer. Sizes have been checked to agree.
ScorerOrError SingleLabelScorer(const Dataset& data, std::span<const TaskOutput> outputs);
ScorerOrError MultiLabelScorer(const Dataset& data, std::span<const TaskOutput> outputs,
                               const std::vector<float>& thresholds);
ScorerOrError RegressionScorer(const Dataset& data, std::span<const TaskOutput> outputs);
ScorerOrError AnswerScorer(const Dataset& data, std::span<const TaskOutput> outputs);
ScorerOrError TokenLabelScorer(const Dataset& data, std::span<const TaskOutput> outputs);

// "example 17 (line 18): message"
Error BlameExample(const Dataset& data, size_t index, const std::string& message);

}  // namespace thimble
