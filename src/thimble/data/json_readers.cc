// JSON lines and whole documents of JSON, SQuAD's among them.
#include <nlohmann/json.hpp>
#include <string>

#include "thimble/base/quote.h"
#include "thimble/data/json_rows.h"
#include "thimble/data/readers.h"

namespace thimble {
namespace {

using Json = nlohmann::json;

// An array under `key`, or null.
const Json* ArrayOf(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? &*found : nullptr;
}

Status TakeParagraph(const Json& paragraph, size_t article, RowSink& sink) {
  const Json* questions = ArrayOf(paragraph, "qas");
  if (questions == nullptr || !paragraph.contains("context")) {
    return InvalidData("article " + std::to_string(article) +
                       ": a paragraph has no \"context\" or no \"qas\"; is this SQuAD's format?");
  }
  for (const Json& question : *questions) {
    if (sink.full()) return {};
    std::string id = "?";
    if (question.is_object() && question.contains("id") && question["id"].is_string()) {
      id = Quoted(question["id"].get<std::string>(), 40);
    }
    const std::string place = "article " + std::to_string(article) + ": question " + id + ": ";
    if (!question.is_object()) {
      TRY_VOID(sink.Refuse(RowProblem::kSyntax, 0, place + "not a JSON object"));
      continue;
    }
    TRY_VOID(TakeQuestionRow(question, paragraph["context"], 0, place, sink));
  }
  return {};
}

Status ReadSquad(const Json& articles, RowSink& sink) {
  sink.kind = RowKind::kQuestions;
  size_t number = 0;
  for (const Json& article : articles) {
    ++number;
    const Json* paragraphs = ArrayOf(article, "paragraphs");
    if (paragraphs == nullptr) {
      return InvalidData("article " + std::to_string(number) +
                         " has no \"paragraphs\"; is this SQuAD's format?");
    }
    for (const Json& paragraph : *paragraphs) TRY_VOID(TakeParagraph(paragraph, number, sink));
  }
  return {};
}

}  // namespace

Status ReadJsonl(LineStream& lines, RowSink& sink) {
  JsonRows rows(sink);
  std::string_view line;
  while (!sink.full()) {
    TRY(const bool more, lines.Next(line));
    if (!more) break;
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    const Json object = Json::parse(line, nullptr, false);
    if (object.is_discarded()) {
      TRY_VOID(sink.Refuse(RowProblem::kSyntax, lines.line_number(), "not valid JSON"));
      continue;
    }
    TRY_VOID(rows.Take(object, lines.line_number()));
  }
  return {};
}

Status ReadJson(std::string_view text, RowSink& sink) {
  const Json document = Json::parse(text, nullptr, false);
  if (document.is_discarded()) {
    return InvalidData(
        "is not valid JSON, or is cut off; lines of objects belong into a .jsonl file");
  }
  if (const Json* articles = ArrayOf(document, "data");
      articles != nullptr &&
      (articles->empty() || ArrayOf((*articles)[0], "paragraphs") != nullptr)) {
    return ReadSquad(*articles, sink);
  }
  const Json* array = document.is_array() ? &document : ArrayOf(document, "data");
  if (array == nullptr) {
    return InvalidData("is neither SQuAD's JSON ({\"data\": [...]}) nor an array of rows");
  }
  JsonRows rows(sink);
  int64_t number = 0;
  for (const Json& object : *array) {
    if (sink.full()) break;
    TRY_VOID(rows.Take(object, ++number));
  }
  return {};
}

}  // namespace thimble
