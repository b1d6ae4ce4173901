// JSON objects as rows; shared by JSON lines, arrays of objects and cells of tables.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/columns.h"
#include "thimble/data/rows.h"

namespace thimble {

class JsonRows {
 public:
  explicit JsonRows(RowSink& sink) : sink_(sink) {}

  // One object. `line` is its place, or its number in an array.
  Status Take(const nlohmann::json& object, int64_t line);

 private:
  Status TakeText(const nlohmann::json& object, int64_t line);
  Status TakeQuestion(const nlohmann::json& object, int64_t line);
  Status TakeTokens(const nlohmann::json& object, int64_t line);
  Status Refuse(RowProblem problem, int64_t line, std::string what) {
    return sink_.Refuse(problem, line, std::move(what));
  }
  bool Fits(RowKind kind);

  RowSink& sink_;
  bool first_ = true;
  std::vector<std::string> keys_;  // that columns_ are of
  Columns columns_;
};

// A question with its context and answers ([{text, answer_start}] or {text: [], answer_start: []}).
// `place` begins the messages where there is no line.
Status TakeQuestionRow(const nlohmann::json& object, const nlohmann::json& context, int64_t line,
                       const std::string& place, RowSink& sink);

// {"name": score}, [score, ...] or name:score|name:score. False if it is none of them.
bool ReadLabelScores(std::string_view cell, Row& row);

}  // namespace thimble
