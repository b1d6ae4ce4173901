// Rows of a data set as a format has them, before anything is known about the task and its labels.
// The readers of all formats fill a RowSink; dataset.cc makes examples of what is in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/dataset.h"

namespace thimble {

struct Row {
  int64_t line = 0;
  std::string id, text;
  std::optional<std::string> pair;
  // As in the file. A table has one cell, which may hold several labels joined by `|`; a list of JSON is
  // apart already. For token labels: one tag per word.
  std::vector<std::string> labels;
  bool has_label = false, is_list = false;
  std::vector<std::pair<std::string, float>> named_scores;
  std::vector<float> scores;
  std::vector<AnswerText> answers;
  bool unanswerable = false;
  std::vector<std::string> words;
};

// The shape of all rows of a file.
enum class RowKind : uint8_t { kTexts, kQuestions, kTokens };

// Takes rows, checks what is the same in all formats, keeps the good ones and counts the others.
class RowSink {
 public:
  // `labels_needed`: a table without a label column is an error of the file.
  RowSink(const DatasetOptions& options, bool labels_needed)
      : options_(options), labels_needed_(labels_needed) {}

  // One of the two for every row. In strict mode a bad row is an error (without the file's name).
  Status Take(Row row);
  Status Refuse(RowProblem problem, int64_t line, std::string what);
  // Something worth counting about a row that is taken all the same.
  void Remark(RowProblem problem, int64_t line, std::string what) {
    report.Add(problem, line, std::move(what));
  }
  bool full() const { return options_.max_examples != 0 && rows.size() >= options_.max_examples; }

  const DatasetOptions& options() const { return options_; }
  bool labels_needed() const { return labels_needed_; }

  RowKind kind = RowKind::kTexts;
  std::string label_column;   // in lower case, as the file calls it
  bool usual_columns = true;  // false where the user named another label column
  std::vector<Row> rows;
  ReadReport report;

 private:
  const DatasetOptions& options_;
  bool labels_needed_;
};

// Reads the file, whose format is told by its name or by the options, into the sink. Errors name the file.
Status ReadRows(const std::string& path, RowSink& sink);
// The same from memory; the format must be given.
Status ReadRowsFromBytes(std::string_view bytes, const std::string& name, RowSink& sink);
// By the name alone; nothing for a name that tells none.
std::optional<DatasetFormat> FormatOfName(std::string_view path);

// What is wrong with a text that a model shall read, if anything.
std::optional<RowProblem> TextProblem(std::string_view text);

}  // namespace thimble
