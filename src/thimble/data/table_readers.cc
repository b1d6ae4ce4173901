// TSV and CSV: rows of cells under a header.
#include <string>
#include <utility>
#include <vector>

#include "thimble/data/columns.h"
#include "thimble/data/json_rows.h"
#include "thimble/data/readers.h"

namespace thimble {
namespace {

using Cells = std::vector<std::string>;

// From the cells of a row to a Row.
class Table {
 public:
  explicit Table(RowSink& sink) : sink_(sink) {}

  Status Header(Cells names) {
    TRY(columns_, FindColumns(names, sink_.options(), sink_.labels_needed()));
    width_ = names.size();
    sink_.label_column = columns_.label_name;
    sink_.usual_columns = columns_.usual_columns;
    return {};
  }

  Status Take(int64_t line, Cells cells) {
    if (cells.size() != width_) {
      return sink_.Refuse(RowProblem::kColumns, line,
                          std::to_string(cells.size()) +
                              (cells.size() == 1 ? " column" : " columns") + ", the header has " +
                              std::to_string(width_));
    }
    Row row{.line = line};
    row.text = std::move(cells[columns_.text]);
    if (columns_.pair) row.pair = std::move(cells[*columns_.pair]);
    if (columns_.id) row.id = std::move(cells[*columns_.id]);
    if (columns_.label) {
      row.has_label = true;
      row.labels.push_back(std::move(cells[*columns_.label]));
    }
    if (columns_.scores && !cells[*columns_.scores].empty() &&
        !ReadLabelScores(cells[*columns_.scores], row)) {
      return sink_.Refuse(RowProblem::kBadScores, line,
                          "label_scores are neither a JSON object or array nor name:score|...");
    }
    return sink_.Take(std::move(row));
  }

 private:
  RowSink& sink_;
  Columns columns_;
  size_t width_ = 0;
};

Cells SplitAtTabs(std::string_view line) {
  Cells cells;
  for (;;) {
    const size_t tab = line.find('\t');
    cells.emplace_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return cells;
    line.remove_prefix(tab + 1);
  }
}

constexpr std::string_view kEmpty =
    "the file is empty; it should begin with a line of column names";

// One record of CSV, which may go over several lines.
class CsvRecords {
 public:
  explicit CsvRecords(LineStream& lines) : lines_(lines) {}

  // False at the end. `problem` says what is wrong with the record, which has been read to its end.
  Result<bool> Next(Cells& cells, std::string& problem) {
    cells.clear();
    problem.clear();
    std::string_view line;
    do {
      TRY(const bool more, lines_.Next(line));
      if (!more) return false;
    } while (line.empty());
    line_ = lines_.line_number();
    for (;;) {
      std::string& cell = cells.emplace_back();
      if (line.starts_with('"')) {
        line.remove_prefix(1);
        TRY(line, Quoted(line, cell));
        const size_t comma = line.find(',');
        if (!line.substr(0, comma).empty()) problem = "text after a closing quote";
        if (comma == std::string_view::npos) return true;
        line.remove_prefix(comma + 1);
      } else {
        const size_t comma = line.find(',');
        cell = line.substr(0, comma);
        if (comma == std::string_view::npos) return true;
        line.remove_prefix(comma + 1);
      }
    }
  }
  int64_t line() const { return line_; }  // where the record begins

 private:
  // What stands inside quotes, to `cell`; returns the rest of the line after them.
  Result<std::string_view> Quoted(std::string_view line, std::string& cell) {
    const int64_t first = lines_.line_number();
    for (;;) {
      const size_t quote = line.find('"');
      cell += line.substr(0, quote);
      if (quote == std::string_view::npos) {
        if (cell.size() > LineStream::kMaxLineBytes) return Unclosed(first, "within 64 MiB");
        cell += lines_.end();
        TRY(const bool more, lines_.Next(line));
        if (!more) return Unclosed(first, "before the file ends");
        continue;
      }
      line.remove_prefix(quote + 1);
      if (!line.starts_with('"')) return line;
      cell.push_back('"');
      line.remove_prefix(1);
    }
  }

  static Error Unclosed(int64_t line, const char* where) {
    return InvalidData("line " + std::to_string(line) +
                       ": a quote begins here that is not closed " + where);
  }

  LineStream& lines_;
  int64_t line_ = 0;
};

}  // namespace

Status ReadTsv(LineStream& lines, RowSink& sink) {
  Table table(sink);
  std::string_view line;
  TRY(const bool any, lines.Next(line));
  if (!any) return InvalidData(std::string(kEmpty));
  TRY_VOID(table.Header(SplitAtTabs(line)));
  while (!sink.full()) {
    TRY(const bool more, lines.Next(line));
    if (!more) break;
    if (line.empty()) continue;
    TRY_VOID(table.Take(lines.line_number(), SplitAtTabs(line)));
  }
  return {};
}

Status ReadCsv(LineStream& lines, RowSink& sink) {
  Table table(sink);
  CsvRecords records(lines);
  Cells cells;
  std::string problem;
  TRY(const bool any, records.Next(cells, problem));
  if (!any) return InvalidData(std::string(kEmpty));
  if (!problem.empty()) return InvalidData("line 1: " + problem);
  TRY_VOID(table.Header(std::move(cells)));
  while (!sink.full()) {
    TRY(const bool more, records.Next(cells, problem));
    if (!more) break;
    if (problem.empty()) {
      TRY_VOID(table.Take(records.line(), std::move(cells)));
    } else {
      TRY_VOID(sink.Refuse(RowProblem::kSyntax, records.line(), problem));
    }
  }
  return {};
}

}  // namespace thimble
