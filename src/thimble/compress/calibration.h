// Texts that a model is calibrated on: what its layers see, and how far a smaller model strays from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/runtime/session.h"
#include "thimble/train/examples.h"

namespace thimble::compress {

// Hears the share of the work that is done, in [0, 1]; an error it returns stops the work.
using ProgressFn = std::function<Status(double)>;

struct CalibrationOptions {
  size_t samples = 1024;  // at most; drawn at random where the file has more
  size_t max_length = 0;  // tokens; 0: the model's limit
  uint64_t seed = 1;
};
inline constexpr size_t kFewestSamples = 32;

// Reads a labelled data set of the model's task, or plain text (.txt, .txt.gz, a folder), one paragraph a sample. Labels
// are checked, then not needed: a model without any takes the texts of every data set.
// kInvalidData: fewer than kFewestSamples texts; rows of another task; a label that the model does not have.
Result<std::vector<train::TrainingExample>> ReadCalibration(const std::string& path,
                                                            const Model& model,
                                                            const CalibrationOptions& options);

// What a model gives for texts, and how far another model's answers are from it.
class OutputDistance {
 public:
  // `examples` must outlive the object.
  static Result<OutputDistance> Create(const Model& model,
                                       const std::vector<train::TrainingExample>& examples,
                                       int threads);

  // Mean over the rows of the outputs: KL(model || other) of the label distributions (one label), of every label by
  // itself (several labels), else the squared difference relative to the model's own size. Infinity as soon as it is
  // known to be `limit` or more, often from a part of the texts.
  Result<double> To(const Graph& other,
                    double limit = std::numeric_limits<double>::infinity()) const;

 private:
  OutputDistance(const Model& model, const std::vector<train::TrainingExample>& examples,
                 int threads)
      : model_(model), examples_(&examples), threads_(threads) {}
  // Calls `visit` with one row of the first output after another until it says that it has seen enough.
  Status VisitOutputs(const Graph& graph,
                      const std::function<bool(std::span<const float> row)>& visit) const;

  Model model_;
  const std::vector<train::TrainingExample>* examples_;
  int threads_;
  size_t width_ = 0;
  std::vector<float> outputs_;
};

// Sequences of about `tokens` tokens per batch, one after another, given to `run`.
Status ForEachBatch(const std::vector<train::TrainingExample>& examples, size_t tokens,
                    const std::function<Status(const Batch&)>& run);

}  // namespace thimble::compress
