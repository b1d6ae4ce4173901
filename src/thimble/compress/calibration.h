// Calibration data: some hundred texts like those the model will meet.
//
// Plain text (.txt, .txt.gz, a folder of them): one text a line. A data set (TSV, CSV, JSON lines, SQuAD, CoNLL;
// data/dataset.h) must be of the model's task and carry labels of the model: then a loss can be measured on it too.
// For a model without labels (features, masked_lm) a data set gives its texts alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/dataset.h"
#include "thimble/formats/model.h"
#include "thimble/train/examples.h"

namespace thimble::compress {

struct CalibrationOptions {
  size_t max_examples = 1024;  // drawn at random from all; 0: all
  size_t least_examples = 32;  // fewer are an error
  size_t max_length = 0;       // tokens of a text, the rest is cut; 0: the model's limit
  bool labelled = false;       // whether data without labels is an error
  uint64_t seed = 1;           // of the draw
};

struct Calibration {
  std::vector<train::TrainingExample> examples;  // in the order drawn; windows of long contexts one each
  // The rows that `examples` come from (TrainingExample::source), where they have labels.
  std::optional<Dataset> data;
  size_t tokens = 0, truncated = 0;
};

// kInvalidData: data of another task or with a label that the model does not have, too few examples, no labels where
// they are needed; each says what would do.
Result<Calibration> ReadCalibration(const std::string& path, const Model& model,
                                    const CalibrationOptions& options = {});

}  // namespace thimble::compress
