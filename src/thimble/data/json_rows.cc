#include "thimble/data/json_rows.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/base/utf8.h"

namespace thimble {
namespace {

using Json = nlohmann::json;

// A label as people write it: a string, a number, true or false.
std::optional<std::string> Scalar(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  return std::nullopt;
}

std::optional<std::vector<std::string>> Scalars(const Json& values) {
  std::vector<std::string> texts;
  if (!values.is_array()) return std::nullopt;
  for (const Json& value : values) {
    std::optional<std::string> text = Scalar(value);
    if (!text) return std::nullopt;
    texts.push_back(*std::move(text));
  }
  return texts;
}

std::string StringOr(const Json& object, const char* key, const std::string& otherwise = "") {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  return Scalar(*found).value_or(otherwise);
}

bool ScoresOf(const Json& value, Row& row) {
  if (value.is_array()) {
    for (const Json& score : value) {
      if (!score.is_number()) return false;
      row.scores.push_back(score.get<float>());
    }
    return true;
  }
  if (!value.is_object()) return false;
  for (const auto& [name, score] : value.items()) {
    if (!score.is_number() || name.empty()) return false;
    row.named_scores.emplace_back(name, score.get<float>());
  }
  return true;
}

bool Contains(const Json& object, const char* key, Json::value_t type) {
  const auto found = object.find(key);
  return found != object.end() && found->type() == type;
}

const char* WordsKey(const Json& object) {
  for (const char* key : {"words", "tokens"}) {
    if (Contains(object, key, Json::value_t::array)) return key;
  }
  return nullptr;
}

// --- Answers

struct Located {
  AnswerText answer;
  bool moved = false;
};

// Where `text` stands in the context: at the code point given, or where it is nearest to that.
std::optional<Located> Locate(const std::string& context, const std::string& text, int64_t start) {
  if (text.empty()) return std::nullopt;
  size_t at = 0;
  for (int64_t i = 0; i < start && at < context.size(); ++i) {
    at += std::max<size_t>(1, Utf8SequenceLength(std::string_view(context).substr(at)));
  }
  bool moved = false;
  if (start < 0 || context.compare(at, text.size(), text) != 0) {
    moved = true;
    const size_t after = context.find(text, at), before = context.rfind(text, at);
    if (after == std::string::npos && before == std::string::npos) return std::nullopt;
    const bool take_after =
        before == std::string::npos || (after != std::string::npos && after - at < at - before);
    at = take_after ? after : before;
  }
  return Located{{text, static_cast<uint32_t>(at), static_cast<uint32_t>(at + text.size())}, moved};
}

struct Stated {
  std::string text;
  int64_t start;
};

// Both forms of "answers"; nothing if it is neither.
std::optional<std::vector<Stated>> StatedAnswers(const Json& answers) {
  std::vector<Stated> stated;
  const auto add = [&](const Json& text, const Json& start) {
    if (!text.is_string() || !start.is_number_integer()) return false;
    stated.push_back({text.get<std::string>(), start.get<int64_t>()});
    return true;
  };
  if (answers.is_array()) {
    for (const Json& answer : answers) {
      if (!answer.is_object() || !answer.contains("text") || !answer.contains("answer_start") ||
          !add(answer["text"], answer["answer_start"])) {
        return std::nullopt;
      }
    }
    return stated;
  }
  if (!Contains(answers, "text", Json::value_t::array) ||
      !Contains(answers, "answer_start", Json::value_t::array) ||
      answers["text"].size() != answers["answer_start"].size()) {
    return std::nullopt;
  }
  for (size_t i = 0; i < answers["text"].size(); ++i) {
    if (!add(answers["text"][i], answers["answer_start"][i])) return std::nullopt;
  }
  return stated;
}

}  // namespace

bool ReadLabelScores(std::string_view cell, Row& row) {
  if (cell.starts_with('{') || cell.starts_with('[')) {
    return ScoresOf(Json::parse(cell, nullptr, false), row);
  }
  while (!cell.empty()) {
    const std::string_view part = cell.substr(0, cell.find('|'));
    const size_t colon = part.rfind(':');
    if (colon == std::string_view::npos || colon == 0) return false;
    const std::optional<double> score = NumberOf(part.substr(colon + 1));
    if (!score) return false;
    row.named_scores.emplace_back(part.substr(0, colon), static_cast<float>(*score));
    cell.remove_prefix(std::min(cell.size(), part.size() + 1));
  }
  return true;
}

Status TakeQuestionRow(const Json& object, const Json& context, int64_t line,
                       const std::string& place, RowSink& sink) {
  const auto refuse = [&](RowProblem problem, const std::string& what) {
    return sink.Refuse(problem, line, place + what);
  };
  if (!Contains(object, "question", Json::value_t::string) || !context.is_string()) {
    return refuse(RowProblem::kField, "question and context are not both strings");
  }
  Row row{.line = line};
  row.id = StringOr(object, "id");
  row.text = object["question"].get<std::string>();
  row.pair = context.get<std::string>();
  const auto impossible = object.find("is_impossible");
  const bool stated_impossible = impossible != object.end() && *impossible == true;
  const auto found = object.find("answers");
  if (found == object.end() && !stated_impossible) {
    if (sink.labels_needed()) return refuse(RowProblem::kNoLabel, "there are no \"answers\"");
    return sink.Take(std::move(row));
  }
  row.has_label = true;
  bool moved = false;
  if (!stated_impossible) {
    const auto stated = StatedAnswers(*found);
    if (!stated) {
      return refuse(RowProblem::kField,
                    "\"answers\" are neither [{text, answer_start}, ...] nor {text: [...], "
                    "answer_start: [...]}");
    }
    for (const Stated& answer : *stated) {
      const auto located = Locate(*row.pair, answer.text, answer.start);
      if (!located) {
        return refuse(RowProblem::kBadAnswer,
                      "the answer " + Quoted(answer.text, 60) + " is not in its context");
      }
      moved = moved || located->moved;
      if (std::find(row.answers.begin(), row.answers.end(), located->answer) == row.answers.end()) {
        row.answers.push_back(located->answer);
      }
    }
  }
  row.unanswerable = row.answers.empty();
  if (moved) {
    sink.Remark(RowProblem::kMovedAnswer, line,
                place + "the answer " + Quoted(row.answers[0].text, 60) +
                    " does not stand where answer_start says; the nearest place was taken");
  }
  return sink.Take(std::move(row));
}

bool JsonRows::Fits(RowKind kind) {
  if (first_) sink_.kind = kind;
  first_ = false;
  return sink_.kind == kind;
}

Status JsonRows::Take(const Json& object, int64_t line) {
  if (!object.is_object()) return Refuse(RowProblem::kSyntax, line, "not a JSON object");
  const bool tokens = WordsKey(object) != nullptr;
  const bool question = !tokens && object.contains("question") && object.contains("context");
  const RowKind kind = tokens ? RowKind::kTokens : question ? RowKind::kQuestions : RowKind::kTexts;
  if (!Fits(kind)) {
    return Refuse(RowProblem::kField, line, "a row of another kind than the rows before it");
  }
  if (tokens) return TakeTokens(object, line);
  if (question) return TakeQuestionRow(object, object["context"], line, "", sink_);
  return TakeText(object, line);
}

Status JsonRows::TakeText(const Json& object, int64_t line) {
  const bool same = !keys_.empty() && keys_.size() == object.size() &&
                    std::equal(keys_.begin(), keys_.end(), object.items().begin(),
                               [](const std::string& a, const auto& b) { return a == b.key(); });
  if (!same) {
    keys_.clear();
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items()) keys.push_back(key);
    Result<Columns> columns = FindColumns(keys, sink_.options(), sink_.labels_needed());
    if (!columns.has_value()) {
      // The first row stands for all of them.
      if (sink_.report.rows == 0) {
        return std::move(columns).error().In("line " + std::to_string(line));
      }
      return Refuse(RowProblem::kField, line, columns.error().message());
    }
    keys_ = std::move(keys);
    columns_ = *std::move(columns);
  }
  const auto at = [&](size_t column) -> const Json& { return object[keys_[column]]; };
  if (!at(columns_.text).is_string() || (columns_.pair && !at(*columns_.pair).is_string())) {
    return Refuse(RowProblem::kField, line, "the text is not a string");
  }
  Row row{.line = line};
  row.text = at(columns_.text).get<std::string>();
  if (columns_.pair) row.pair = at(*columns_.pair).get<std::string>();
  if (columns_.id) row.id = Scalar(at(*columns_.id)).value_or("");
  if (columns_.scores && !at(*columns_.scores).is_null() && !ScoresOf(at(*columns_.scores), row)) {
    return Refuse(RowProblem::kBadScores, line, "label_scores are no object or array of numbers");
  }
  if (columns_.label && !at(*columns_.label).is_null()) {
    const Json& label = at(*columns_.label);
    row.has_label = true;
    row.is_list = label.is_array();
    std::optional<std::vector<std::string>> labels =
        row.is_list ? Scalars(label) : Scalars(Json::array({label}));
    if (!labels) {
      return Refuse(RowProblem::kField, line,
                    "the label is neither text nor number nor a list of them");
    }
    row.labels = *std::move(labels);
    sink_.label_column = columns_.label_name;
    sink_.usual_columns = columns_.usual_columns;
  }
  return sink_.Take(std::move(row));
}

Status JsonRows::TakeTokens(const Json& object, int64_t line) {
  auto words = Scalars(object[WordsKey(object)]);
  if (!words) return Refuse(RowProblem::kField, line, "the words are not a list of strings");
  Row row{.line = line};
  row.id = StringOr(object, "id");
  row.words = *std::move(words);
  for (const std::string& word : row.words) row.text += (row.text.empty() ? "" : " ") + word;
  const std::string& named = sink_.options().label_column;
  for (const char* usual : {"tags", "labels", "ner_tags", "pos_tags", "label"}) {
    const std::string key = named.empty() ? usual : named;
    if (!object.contains(key)) continue;
    auto tags = Scalars(object[key]);
    if (!tags) return Refuse(RowProblem::kField, line, Quoted(key) + " is not a list of labels");
    row.labels = *std::move(tags);
    row.has_label = true;
    row.is_list = true;
    break;
  }
  if (!row.has_label && sink_.labels_needed()) {
    return Refuse(RowProblem::kNoLabel, line, "there are words but no \"tags\"");
  }
  if (row.has_label && row.labels.size() != row.words.size()) {
    return Refuse(RowProblem::kWordsAndTags, line,
                  std::to_string(row.words.size()) + " words and " +
                      std::to_string(row.labels.size()) + " tags");
  }
  return sink_.Take(std::move(row));
}

}  // namespace thimble
