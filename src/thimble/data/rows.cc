#include "thimble/data/rows.h"

#include <algorithm>

#include "thimble/base/utf8.h"

namespace thimble {

std::optional<RowProblem> TextProblem(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return RowProblem::kNulByte;
  if (!IsUtf8(text)) return RowProblem::kInvalidUtf8;
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return RowProblem::kEmptyText;
  return std::nullopt;
}

Status RowSink::Take(Row row) {
  std::optional<RowProblem> problem = TextProblem(row.text);
  if (!problem && row.pair) problem = TextProblem(*row.pair);
  for (const std::string& label : row.labels) {
    if (!problem && !label.empty()) problem = TextProblem(label);
  }
  for (const std::string& word : row.words) {
    if (!problem) problem = TextProblem(word);
  }
  if (problem) return Refuse(*problem, row.line, std::string(RowProblemWords(*problem)));
  ++report.rows;
  rows.push_back(std::move(row));
  return {};
}

Status RowSink::Refuse(RowProblem problem, int64_t line, std::string what) {
  ++report.rows;
  if (options_.strict) {
    return InvalidData(line != 0 ? "line " + std::to_string(line) + ": " + what : what);
  }
  report.Add(problem, line, std::move(what));
  return {};
}

}  // namespace thimble
