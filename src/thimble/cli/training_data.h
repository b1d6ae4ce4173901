// What `train` and `distill` learn from: files of examples or of plain text, and the token ids of both.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/cli/training_options.h"
#include "thimble/data/dataset.h"
#include "thimble/text/tokenizer.h"
#include "thimble/train/examples.h"

namespace thimble::cli {

struct TrainingTexts {
  Dataset train, valid, test;       // labelled; empty where there are none
  std::vector<std::string> corpus;  // sentences without labels, one per example
};

// Reads the three labelled sets and says what was wrong with their rows. The training set decides about task and
// labels, unless `labels` is not empty; a validation row with a label that is not among them is left out, a test
// row with one counts as wrong.
Result<TrainingTexts> ReadTexts(const TrainingCall& call, const std::vector<std::string>& labels);

// The training set as token ids.
Result<std::vector<train::TrainingExample>> EncodeRows(const TrainingTexts& data,
                                                       const Tokenizer& tokenizer,
                                                       size_t max_length);

// The same of plain text, a file or a folder. Masked language modelling reads all of a paragraph, in pieces; a
// teacher of features compares sentences, which are kept in `data.corpus`.
Result<std::vector<train::TrainingExample>> EncodeCorpus(const std::string& path, Task task,
                                                         const Tokenizer& tokenizer,
                                                         size_t max_length, TrainingTexts& data);

}  // namespace thimble::cli
