#include "thimble/metrics/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "thimble/metrics/scorer.h"

namespace thimble {
namespace {

// SplitMix64: the same numbers on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  // Below `limit`, which is at most 2^32.
  uint32_t Below(uint64_t limit) {
    uint64_t x = state_ += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return static_cast<uint32_t>((((x ^ (x >> 31)) >> 32) * limit) >> 32);
  }

 private:
  uint64_t state_;
};

// The quantile of sorted values, between neighbours by interpolation.
double Quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

void AddIntervals(Scorer& scorer, size_t examples, const MetricOptions& options,
                  std::vector<Metric>& metrics) {
  std::vector<std::vector<double>> samples(metrics.size());
  std::vector<double> values(metrics.size());
  std::vector<uint32_t> weights(examples);
  Random random(options.seed);
  for (size_t s = 0; s < options.bootstrap_samples; ++s) {
    std::fill(weights.begin(), weights.end(), 0);
    for (size_t i = 0; i < examples; ++i) ++weights[random.Below(examples)];
    scorer.Score(weights, values);
    for (size_t m = 0; m < metrics.size(); ++m) samples[m].push_back(values[m]);
  }
  for (size_t m = 0; m < metrics.size(); ++m) {
    std::sort(samples[m].begin(), samples[m].end());
    metrics[m].low = Quantile(samples[m], 0.025);
    metrics[m].high = Quantile(samples[m], 0.975);
  }
}

ScorerOrError ScorerFor(const Dataset& data, std::span<const TaskOutput> outputs,
                        const MetricOptions& options) {
  switch (data.task) {
    case Task::kSingleLabel:
      return SingleLabelScorer(data, outputs);
    case Task::kMultiLabel:
      return MultiLabelScorer(data, outputs, options.thresholds);
    case Task::kRegression:
      return RegressionScorer(data, outputs);
    case Task::kAnswers:
      return AnswerScorer(data, outputs);
    case Task::kTokenLabels:
      return TokenLabelScorer(data, outputs);
    default:
      return Unsupported("the task " + std::string(TaskName(data.task)) +
                         " has no metrics against labels");
  }
}

Status PutFirst(const std::string& name, std::vector<Metric>& metrics) {
  const auto found = std::find_if(metrics.begin(), metrics.end(),
                                  [&](const Metric& metric) { return metric.name == name; });
  if (found != metrics.end()) {
    std::rotate(metrics.begin(), found, found + 1);
    return {};
  }
  std::string message = "the task has no metric '" + name + "'; there are:";
  for (const Metric& metric : metrics) message += " " + metric.name;
  return InvalidArgument(message);
}

}  // namespace

Error BlameExample(const Dataset& data, size_t index, const std::string& message) {
  std::string place = "example " + std::to_string(index + 1);
  const int64_t line = data.examples[index].line;
  if (line != 0) place += " (line " + std::to_string(line) + ")";
  return InvalidData(place + " " + message);
}

const Metric* TaskMetrics::Find(std::string_view name) const {
  for (const Metric& metric : metrics) {
    if (metric.name == name) return &metric;
  }
  return nullptr;
}

Result<TaskMetrics> ComputeMetrics(const Dataset& data, std::span<const TaskOutput> outputs,
                                   const MetricOptions& options) {
  const size_t examples = data.examples.size();
  if (outputs.size() != examples) {
    return InvalidArgument(std::to_string(outputs.size()) + " outputs for " +
                           std::to_string(examples) + " examples");
  }
  if (examples == 0) return InvalidArgument("there are no examples");
  if (examples > std::numeric_limits<uint32_t>::max()) {
    return Unsupported("more than 4 billion examples");
  }
  TRY(const std::unique_ptr<Scorer> scorer, ScorerFor(data, outputs, options));
  TaskMetrics result;
  result.examples = examples;
  std::vector<double> values(scorer->names().size());
  scorer->Score(std::vector<uint32_t>(examples, 1), values);
  for (size_t i = 0; i < values.size(); ++i) {
    result.metrics.push_back({scorer->names()[i], values[i], values[i], values[i]});
  }
  if (options.bootstrap_samples != 0) AddIntervals(*scorer, examples, options, result.metrics);
  if (!options.main.empty()) TRY_VOID(PutFirst(options.main, result.metrics));
  scorer->Describe(result);
  return result;
}

}  // namespace thimble
