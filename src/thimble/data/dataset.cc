#include "thimble/data/dataset.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/data/columns.h"
#include "thimble/data/example_key.h"
#include "thimble/data/label_set.h"
#include "thimble/data/rows.h"

namespace thimble {
namespace {

bool HasLabelSet(Task task) {
  return task == Task::kSingleLabel || task == Task::kMultiLabel || task == Task::kTokenLabels;
}

bool HoldsSeveral(const Row& row, const std::vector<std::string>& names) {
  return row.labels.size() == 1 && row.labels[0].find('|') != std::string::npos &&
         std::find(names.begin(), names.end(), row.labels[0]) == names.end();
}

// What DatasetOptions::task says about the data.
Task TaskOf(const RowSink& sink, const std::vector<std::string>& names) {
  if (sink.kind == RowKind::kQuestions) return Task::kAnswers;
  if (sink.kind == RowKind::kTokens) return Task::kTokenLabels;
  const std::string& column = sink.label_column;
  if (column == "score" || column == "similarity") return Task::kRegression;
  if (column == "labels") return Task::kMultiLabel;
  for (const Row& row : sink.rows) {
    if (row.is_list || HoldsSeveral(row, names) || !row.named_scores.empty() ||
        !row.scores.empty()) {
      return Task::kMultiLabel;
    }
  }
  return Task::kSingleLabel;
}

Status CheckTask(Task task, const RowSink& sink) {
  const auto needs = [&](Task wanted, RowKind kind, const char* what) -> Status {
    if ((task == wanted) == (sink.kind == kind)) return {};
    if (task == wanted) {
      return InvalidData("the task is " + std::string(TaskName(task)) + ", but the rows have no " +
                         what);
    }
    return InvalidData("rows with " + std::string(what) + " do not suit the task " +
                       std::string(TaskName(task)));
  };
  TRY_VOID(needs(Task::kAnswers, RowKind::kQuestions, "questions and contexts"));
  TRY_VOID(needs(Task::kTokenLabels, RowKind::kTokens, "words and tags"));
  if (task != Task::kAnswers && task != Task::kRegression && !HasLabelSet(task)) {
    return InvalidArgument("the task " + std::string(TaskName(task)) + " has no labelled data");
  }
  return {};
}

// Makes examples of rows.
class Assembler {
 public:
  Assembler(const DatasetOptions& options, Task task, LabelSet set, ReadReport report)
      : options_(options), set_(std::move(set)) {
    data_.task = task;
    data_.known_labels = set_.labels().size();
    data_.report = std::move(report);
  }

  Status Take(Row row) {
    Example example;
    const std::optional<Fault> fault = Fill(row, example);
    if (fault) {
      if (!options_.strict) {
        data_.report.Add(fault->problem, row.line, fault->what);
        return {};
      }
      const std::string line = "line " + std::to_string(row.line) + ": ";
      return InvalidData(row.line != 0 ? line + fault->what : fault->what);
    }
    if (foreign_ && HasLabelSet(data_.task)) {
      data_.report.Add(RowProblem::kForeignLabel, row.line, *std::exchange(foreign_, {}));
    }
    example.text = std::move(row.text);
    example.pair = std::move(row.pair);
    example.answers = std::move(row.answers);
    example.unanswerable = row.unanswerable;
    example.words = std::move(row.words);
    example.id = std::move(row.id);
    example.line = row.line;
    CountDuplicate(example);
    data_.examples.push_back(std::move(example));
    return {};
  }

  Dataset Finish() && {
    if (HasLabelSet(data_.task)) data_.labels = set_.labels();
    for (Example& example : data_.examples) {
      if (!example.label_scores.empty()) example.label_scores.resize(data_.labels.size());
    }
    data_.report.used = data_.examples.size();
    for (const std::string& note : set_.notes()) data_.report.notes.push_back(note);
    return std::move(data_);
  }

 private:
  struct Fault {
    RowProblem problem;
    std::string what;
  };
  using MaybeFault = std::optional<Fault>;

  MaybeFault Fill(const Row& row, Example& out) {
    foreign_.reset();
    switch (data_.task) {
      case Task::kAnswers:
        return std::nullopt;
      case Task::kRegression:
        return FillValue(row, out);
      case Task::kTokenLabels:
        return FillWords(row, out);
      default:
        return FillLabels(row, out);
    }
  }

  static MaybeFault FillValue(const Row& row, Example& out) {
    if (row.labels.size() != 1 || row.labels[0].empty()) {
      return Fault{RowProblem::kNoLabel, "there is no value"};
    }
    const std::optional<double> value = NumberOf(row.labels[0]);
    if (!value || std::abs(*value) > 1e30) {
      return Fault{RowProblem::kBadValue, Quoted(row.labels[0], 40) + " is not a number"};
    }
    out.value = static_cast<float>(*value);
    return std::nullopt;
  }

  MaybeFault FillWords(const Row& row, Example& out) {
    if (!row.has_label) return Fault{RowProblem::kNoLabel, "there are no tags"};
    for (const std::string& tag : row.labels) {
      if (MaybeFault fault = AddLabel(tag, out.word_labels)) return fault;
    }
    return std::nullopt;
  }

  MaybeFault FillLabels(const Row& row, Example& out) {
    const bool scored = !row.named_scores.empty() || !row.scores.empty();
    if (!row.has_label && !scored) return Fault{RowProblem::kNoLabel, "there is no label"};
    for (const std::string& label : row.labels) {
      if (label.empty()) continue;
      if (row.is_list || data_.task == Task::kSingleLabel || set_.Find(label)) {
        if (MaybeFault fault = AddLabel(label, out.labels)) return fault;
        continue;
      }
      std::string_view rest = label;
      while (!rest.empty()) {
        const std::string part(rest.substr(0, rest.find('|')));
        rest.remove_prefix(std::min(rest.size(), part.size() + 1));
        if (part.empty()) continue;
        if (MaybeFault fault = AddLabel(part, out.labels)) return fault;
      }
    }
    if (scored) {
      if (MaybeFault fault = FillScores(row, out)) return fault;
    }
    std::sort(out.labels.begin(), out.labels.end());
    out.labels.erase(std::unique(out.labels.begin(), out.labels.end()), out.labels.end());
    if (data_.task == Task::kMultiLabel) return std::nullopt;
    if (out.labels.empty()) return Fault{RowProblem::kNoLabel, "there is no label"};
    if (out.labels.size() > 1) {
      return Fault{RowProblem::kSeveralLabels,
                   std::to_string(out.labels.size()) + " labels where the task has one per row"};
    }
    return std::nullopt;
  }

  // Soft labels; where no hard ones are given, those of at least 0.5, or for one label the largest.
  MaybeFault FillScores(const Row& row, Example& out) {
    if (!row.scores.empty() && row.scores.size() != data_.known_labels) {
      return Fault{RowProblem::kBadScores, std::to_string(row.scores.size()) +
                                               " label scores, the label set has " +
                                               std::to_string(data_.known_labels)};
    }
    out.label_scores = row.scores;
    for (const auto& [name, score] : row.named_scores) {
      std::vector<int32_t> index;
      if (MaybeFault fault = AddLabel(name, index)) return fault;
      out.label_scores.resize(std::max(out.label_scores.size(), set_.labels().size()));
      out.label_scores[static_cast<size_t>(index[0])] = score;
    }
    for (const float score : out.label_scores) {
      if (!(score >= 0 && score <= 1)) {
        return Fault{RowProblem::kBadScores, "a label score is not between 0 and 1"};
      }
    }
    if (!out.labels.empty() || row.has_label) return std::nullopt;
    const std::vector<float>& scores = out.label_scores;
    if (data_.task == Task::kSingleLabel) {
      const auto best = std::max_element(scores.begin(), scores.end());
      out.labels.push_back(static_cast<int32_t>(best - scores.begin()));
      return std::nullopt;
    }
    for (size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] >= 0.5f) out.labels.push_back(static_cast<int32_t>(i));
    }
    return std::nullopt;
  }

  MaybeFault AddLabel(const std::string& name, std::vector<int32_t>& out) {
    std::optional<int32_t> found = set_.Find(name);
    const bool known = found && static_cast<size_t>(*found) < data_.known_labels;
    if (!known) {
      const std::string what = "the label " + Quoted(name, 60) + " is not in the label set";
      if (options_.unknown_label == UnknownLabel::kSkip) {
        return Fault{RowProblem::kUnknownLabel, what};
      }
      foreign_ = what;
      if (!found) found = set_.Append(name);
    }
    out.push_back(*found);
    return std::nullopt;
  }

  void CountDuplicate(const Example& example) {
    const auto [earlier, is_new] = seen_.emplace(KeyOf(example, true), example.line);
    if (is_new) return;
    const std::string where =
        earlier->second != 0 ? "as line " + std::to_string(earlier->second) : "as an earlier row";
    data_.report.Add(RowProblem::kDuplicate, example.line, "the same text and label " + where);
  }

  const DatasetOptions& options_;
  LabelSet set_;
  Dataset data_;
  std::optional<std::string> foreign_;  // what the row's foreign label is, if it has one
  std::unordered_map<uint64_t, int64_t> seen_;
};

// All names that rows use, as far as that can be told before the set is known.
std::vector<std::string> NamesIn(const RowSink& sink, Task task) {
  std::vector<std::string> names;
  for (const Row& row : sink.rows) {
    for (const std::string& label : row.labels) {
      if (task == Task::kMultiLabel && !row.is_list) {
        std::string_view rest = label;
        while (!rest.empty()) {
          names.emplace_back(rest.substr(0, rest.find('|')));
          rest.remove_prefix(std::min(rest.size(), names.back().size() + 1));
        }
      } else {
        names.push_back(label);
      }
    }
    for (const auto& [name, score] : row.named_scores) names.push_back(name);
    if (names.size() > 1'000'000) names = SortedNames(std::move(names));
  }
  names = SortedNames(std::move(names));
  names.erase(std::remove(names.begin(), names.end(), ""), names.end());
  return names;
}

// labels.txt is about the usual label column. For another one it counts only where it names all labels there.
bool Describes(const std::vector<std::string>& published, const RowSink& sink, Task task) {
  if (sink.usual_columns) return true;
  LabelSet set(published, published);
  for (const std::string& name : NamesIn(sink, task)) {
    if (!set.Find(name)) return false;
  }
  return true;
}

Error NothingUsable(const ReadReport& report) {
  if (report.rows == 0) return InvalidData("there are no rows");
  const ReadReport::Group& group = report.groups[0];
  const std::string line =
      group.first[0].line != 0 ? " (line " + std::to_string(group.first[0].line) + ": " : " (";
  return InvalidData("none of " + std::to_string(report.rows) + " rows can be used" + line +
                     group.first[0].what + ")");
}

Result<Dataset> Assemble(RowSink& sink, const DatasetOptions& options,
                         std::vector<std::string> published) {
  if (sink.rows.empty()) return NothingUsable(sink.report);
  const std::vector<std::string>& names = options.labels.empty() ? published : options.labels;
  const Task task = options.task.value_or(TaskOf(sink, names));
  TRY_VOID(CheckTask(task, sink));
  std::vector<std::string> labels = options.labels;
  if (HasLabelSet(task)) {
    if (!published.empty() && !Describes(published, sink, task)) {
      sink.report.notes.push_back("labels.txt is not about the column " +
                                  Quoted(sink.label_column, 40) + " and was not used");
      published.clear();
    }
    if (labels.empty()) labels = published;
    if (labels.empty()) labels = NamesIn(sink, task);
  }
  Assembler assembler(options, task, LabelSet(std::move(labels), std::move(published)),
                      std::move(sink.report));
  for (Row& row : sink.rows) TRY_VOID(assembler.Take(std::move(row)));
  Dataset data = std::move(assembler).Finish();
  if (data.examples.empty()) return NothingUsable(data.report);
  return data;
}

Result<Dataset> Named(Result<Dataset> data, const std::string& name) {
  if (!data.has_value()) return std::move(data).error().In(name);
  data->path = name;
  return data;
}

}  // namespace

Result<Dataset> ReadDataset(const std::string& path, const DatasetOptions& options) {
  RowSink sink(options, true);
  TRY_VOID(ReadRows(path, sink));
  TRY(std::vector<std::string> published, ReadLabelsBeside(path));
  return Named(Assemble(sink, options, std::move(published)), path);
}

Result<Dataset> ReadDatasetFromBytes(std::string_view bytes, const std::string& name,
                                     const DatasetOptions& options) {
  RowSink sink(options, true);
  TRY_VOID(ReadRowsFromBytes(bytes, name, sink));
  return Named(Assemble(sink, options, {}), name);
}

}  // namespace thimble
