#include "thimble/compress/calibration.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>

#include "thimble/base/quote.h"
#include "thimble/base/random.h"
#include "thimble/data/dataset.h"
#include "thimble/data/plain_text.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/text/tokenizer.h"

namespace thimble::compress {
namespace {

constexpr size_t kBatchTokens = 2048;

bool IsPlainText(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error) || path.ends_with(".txt") ||
         path.ends_with(".txt.gz");
}

// Softmax, or one sigmoid per label, of a row of logits. In double: divergences of near models are the last digits.
std::vector<double> Probabilities(std::span<const float> logits, bool several) {
  std::vector<double> row(logits.begin(), logits.end());
  if (several) {
    for (double& x : row) x = 1 / (1 + std::exp(-x));
    return row;
  }
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (double& x : row) sum += x = std::exp(x - top);
  for (double& x : row) x /= sum;
  return row;
}

double Divergence(double p, double q) {
  constexpr double kLeast = 1e-12;
  return p <= 0 ? 0 : p * std::log(p / std::max(q, kLeast));
}

}  // namespace

Status ForEachBatch(const std::vector<train::TrainingExample>& examples, size_t tokens,
                    const std::function<Status(const Batch&)>& run) {
  Batch batch;
  for (size_t i = 0; i < examples.size(); ++i) {
    batch.Add(examples[i].ids, examples[i].type_ids);
    if (batch.tokens() < tokens && i + 1 < examples.size()) continue;
    TRY_VOID(run(batch));
    batch.Clear();
  }
  return {};
}

namespace {

bool HasLabels(Task task) {
  return task != Task::kFeatures && task != Task::kMaskedLm && task != Task::kPretraining;
}

std::string FirstOf(const std::vector<std::string>& labels) {
  constexpr size_t kMost = 3;
  std::string names;
  for (size_t i = 0; i < std::min(labels.size(), kMost); ++i) {
    names += (i > 0 ? ", " : "") + Quoted(labels[i]);
  }
  return names + (labels.size() > kMost ? ", ..." : "");
}

// Rows of the model's task: with labels that it does not have they are texts that it was not made for.
Result<Dataset> ReadRows(const std::string& path, const Model& model) {
  DatasetOptions options{.task = model.task, .unknown_label = UnknownLabel::kAppend};
  if (model.task != Task::kRegression) options.labels = model.labels;
  Result<Dataset> data = ReadDataset(path, options);
  if (!data) {
    return Error(data.error().code(), data.error().message() + "; the model's task is " +
                                          std::string(TaskName(model.task)) +
                                          ", texts without labels can come as .txt");
  }
  if (data->labels.size() > data->known_labels) {
    return InvalidData(path + ": its label " + Quoted(data->labels[data->known_labels]) +
                       " is none of the model's, which has " + FirstOf(model.labels) +
                       "; give data of the model's task");
  }
  return data;
}

}  // namespace

Result<std::vector<train::TrainingExample>> ReadCalibration(const std::string& path,
                                                            const Model& model,
                                                            const CalibrationOptions& options) {
  TRY(const Tokenizer tokenizer, Tokenizer::Create(model.tokenizer));
  auto limit = static_cast<size_t>(model.graph.max_sequence_length);
  if (options.max_length > 0) limit = std::min(limit, options.max_length);
  std::vector<train::TrainingExample> examples;
  const auto add = [&](const std::string& text, const std::optional<std::string>& pair) -> Status {
    TRY(train::TrainingExample e, train::EncodeText(tokenizer, text, pair, limit));
    examples.push_back(std::move(e));
    return {};
  };
  if (HasLabels(model.task) && !IsPlainText(path)) {
    TRY(const Dataset data, ReadRows(path, model));
    for (const Example& row : data.examples) TRY_VOID(add(row.text, row.pair));
  } else {
    TRY(PlainText text, PlainText::Open({path}));
    std::string paragraph;
    for (;;) {
      TRY(const bool more, text.Next(paragraph));
      if (!more) break;
      TRY_VOID(add(paragraph, std::nullopt));
    }
  }
  if (examples.size() < kFewestSamples) {
    return InvalidData(path + ": " + std::to_string(examples.size()) +
                       " texts are too few to calibrate on; give at least " +
                       std::to_string(kFewestSamples));
  }
  Random random(options.seed);
  random.Shuffle(std::span(examples));
  if (examples.size() > options.samples) examples.resize(std::max(options.samples, kFewestSamples));
  return examples;
}

Result<OutputDistance> OutputDistance::Create(const Model& model,
                                              const std::vector<train::TrainingExample>& examples,
                                              int threads) {
  OutputDistance distance(model, examples, threads);
  TRY_VOID(distance.VisitOutputs(model.graph, [&](std::span<const float> row) {
    distance.outputs_.insert(distance.outputs_.end(), row.begin(), row.end());
    return true;
  }));
  const GraphOutput* logits = model.graph.FindOutput("logits");
  const ValueId value = logits != nullptr ? logits->value : model.graph.outputs[0].value;
  distance.width_ = static_cast<size_t>(model.graph.value(value).type.width);
  return distance;
}

Status OutputDistance::VisitOutputs(
    const Graph& graph, const std::function<bool(std::span<const float> row)>& visit) const {
  const Graph packed = Packed(graph);
  TRY(Session session, Session::Create(packed, {.threads = threads_, .outputs = {}}));
  bool more = true;
  const auto run = [&](const Batch& batch) -> Status {
    if (!more) return {};
    TRY_VOID(session.Run(batch));
    const OutputView view = session.output(0);
    for (size_t r = 0; r < view.rows && more; ++r) more = visit(view.row(r));
    return {};
  };
  return ForEachBatch(*examples_, kBatchTokens, run);
}

Result<double> OutputDistance::To(const Graph& other, double limit) const {
  const bool several = model_.task == Task::kMultiLabel;
  const bool labels =
      several || model_.task == Task::kSingleLabel || model_.task == Task::kTokenLabels;
  double size = 0;  // what the sum is relative to
  if (labels) {
    size = std::max<double>(1, static_cast<double>(outputs_.size() / width_));
  } else {
    for (const float x : outputs_) size += static_cast<double>(x) * x;
    if (size == 0) size = 1;
  }
  // Of a row, never negative: the sum only grows.
  const auto distance = [&](std::span<const float> ours, std::span<const float> others) {
    double sum = 0;
    if (!labels) {
      for (size_t i = 0; i < ours.size(); ++i) {
        sum += std::pow(static_cast<double>(others[i]) - ours[i], 2);
      }
      return sum;
    }
    const std::vector<double> p = Probabilities(ours, several), q = Probabilities(others, several);
    for (size_t i = 0; i < p.size(); ++i) {
      sum += Divergence(p[i], q[i]);
      if (several) sum += Divergence(1 - p[i], 1 - q[i]);
    }
    return sum;
  };
  double sum = 0;
  size_t at = 0;
  TRY_VOID(VisitOutputs(other, [&](std::span<const float> row) {
    sum += distance(std::span(outputs_).subspan(at, row.size()), row);
    at += row.size();
    return sum < limit * size;
  }));
  if (at < outputs_.size()) return std::numeric_limits<double>::infinity();
  return sum / size;
}

}  // namespace thimble::compress
