// Labelled examples, and one reader for all the forms they come in.
//
//   TRY(Dataset train, ReadDataset("train.tsv.gz"));
//   TRY(Dataset valid, ReadDataset("valid.tsv", {.task = train.task, .labels = train.labels}));
//
// Formats, bad rows and label rules are described in docs/data.md. Reading streams: what is in memory is
// the examples themselves and one row. Deterministic: the same files give the same Dataset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/report.h"
#include "thimble/graph/task.h"

namespace thimble {

struct AnswerText {
  std::string text;
  uint32_t begin = 0, end = 0;  // bytes of the context (Example::pair)
  bool operator==(const AnswerText&) const = default;
};

struct Example {
  // kAnswers: the question. kTokenLabels: the words, joined by one blank each.
  std::string text;
  std::optional<std::string> pair;  // kAnswers: the context
  // kSingleLabel: one; kMultiLabel: any number. Sorted indices into Dataset::labels.
  std::vector<int32_t> labels;
  float value = 0;  // kRegression
  // Soft labels in [0, 1], one per label of the set; empty: none given.
  std::vector<float> label_scores;
  std::vector<AnswerText> answers;  // kAnswers; empty if unanswerable
  bool unanswerable = false;
  std::vector<std::string> words;    // kTokenLabels
  std::vector<int32_t> word_labels;  // one per word
  std::string id;                    // as the file names it, or empty
  int64_t line = 0;                  // where the row begins, from 1; 0 for SQuAD's JSON
};

struct Dataset {
  std::string path;
  Task task = Task::kSingleLabel;
  std::vector<std::string> labels;  // empty for kRegression and kAnswers
  // So many leading labels are those of DatasetOptions::labels; the rest were met only in this file
  // (UnknownLabel::kAppend). labels.size() where no set was given.
  size_t known_labels = 0;
  std::vector<Example> examples;
  ReadReport report;
};

enum class DatasetFormat : uint8_t {
  kGuess,  // by the file's name, with or without .gz; .json also by what is in it
  kTsv,
  kCsv,
  kJsonl,
  kSquad,
  kConll,
};

std::optional<DatasetFormat> DatasetFormatFromName(std::string_view name);

// What becomes of a row whose label is not in DatasetOptions::labels.
enum class UnknownLabel : uint8_t {
  kSkip,  // left out and counted
  kAppend,  // the label is added behind the known ones: every prediction for such a row is wrong, as when a
            // test set is scored as published
};

struct DatasetOptions {
  // Unset: from the data. Answers where rows have a question and a context; token labels where they have words
  // and tags; regression where the label column is called `score` or `similarity`; several labels where
  // it is called `labels`, a label holds `|` or there are label scores; otherwise a single label.
  std::optional<Task> task;
  // The label set, in the order that indices shall mean. Empty: that of labels.txt beside the file, else the
  // sorted names in the file.
  std::vector<std::string> labels;
  UnknownLabel unknown_label = UnknownLabel::kSkip;
  DatasetFormat format = DatasetFormat::kGuess;
  // Names of columns (TSV, CSV) or keys (JSON lines); empty: the usual names.
  std::string text_column, pair_column, label_column;
  // A bad row is an error that names file and line, instead of being skipped and counted.
  bool strict = false;
  size_t max_examples = 0;  // 0: all
};

// Fails where the file as a whole cannot be used: it cannot be read, is cut off inside gzip or a
// quote, has no column that could be the text, or leaves no usable row; in strict mode at the first bad row.
Result<Dataset> ReadDataset(const std::string& path, const DatasetOptions& options = {});

// The same from bytes (gzip or plain) with the format given; `name` is for messages. No labels.txt.
Result<Dataset> ReadDatasetFromBytes(std::string_view bytes, const std::string& name,
                                     const DatasetOptions& options);

}  // namespace thimble
