// thimble predict: classify, tag, answer or embed lines of text.
#include <CLI/CLI.hpp>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "thimble/cli/adapter.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/runtime/decisions.h"
#include "thimble/runtime/predictor.h"

namespace thimble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct PredictOptions {
  std::string model, input = "-";
  AdapterOptions adapter;
  bool json = false, jsonl = false, ids = false, logits = false, hidden = false, all = false;
  size_t answers = 1;
  bool no_answer = false;
  int threads = 1;
  size_t batch = 0;  // 0: 32, or 1 when a person types the lines
  size_t max_length = 0;
};

// --- Input: one line to one PredictorInput

template <class T>
Status ReadIntegers(const nlohmann::json& object, const char* key, size_t expected,
                    std::vector<T>& out) {
  const auto found = object.find(key);
  if (found == object.end()) return {};
  if (!found->is_array()) return InvalidData(std::string("\"") + key + "\" is not an array");
  for (const auto& item : *found) {
    if (!item.is_number_integer()) {
      return InvalidData(std::string("\"") + key + "\" has an entry that is not an integer");
    }
    const auto value = item.get<int64_t>();
    if (value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max()) {
      return InvalidData(std::string("\"") + key + "\" has " + item.dump() + ", out of range");
    }
    out.push_back(static_cast<T>(value));
  }
  if (expected != 0 && out.size() != expected) {
    return InvalidData(std::string("\"") + key + "\" has " + std::to_string(out.size()) +
                       " entries, \"input_ids\" has " + std::to_string(expected));
  }
  return {};
}

Result<PredictorInput> ReadIds(const nlohmann::json& object) {
  PredictorInput input;
  TRY_VOID(ReadIntegers(object, "input_ids", 0, input.ids));
  if (input.ids.empty()) return InvalidData("no \"input_ids\"");
  TRY_VOID(ReadIntegers(object, "token_type_ids", input.ids.size(), input.type_ids));
  TRY_VOID(ReadIntegers(object, "attention_mask", input.ids.size(), input.mask));
  return input;
}

Result<PredictorInput> ReadInput(const std::string& line, const PredictOptions& options) {
  if (!options.jsonl && !options.ids) return PredictorInput{.text = line};
  TRY(const nlohmann::json object, ParseJsonLine(line));
  if (options.ids) return ReadIds(object);
  TRY(TextLine text, TextLineOf(object));
  return PredictorInput{.text = std::move(text.text), .pair = std::move(text.pair)};
}

// --- Output: one Prediction to one JSON object

std::string Cut(const std::string& text, ByteRange range) {
  return text.substr(range.begin, range.end - range.begin);
}

std::string Piece(const Model& model, int32_t id) {
  const auto& pieces = model.tokenizer.pieces;
  const auto index = static_cast<size_t>(id);
  return id >= 0 && index < pieces.size() ? pieces[index] : "";
}

Json Rows(const FloatMatrix& matrix) {
  Json rows = Json::array();
  for (size_t r = 0; r < matrix.rows; ++r) {
    const auto begin = matrix.values.begin() + static_cast<std::ptrdiff_t>(r * matrix.width);
    rows.push_back(std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(matrix.width)));
  }
  return rows;
}

Json Column(const FloatMatrix& matrix, size_t column) {
  Json values = Json::array();
  for (size_t r = 0; r < matrix.rows; ++r)
    values.push_back(matrix.values[r * matrix.width + column]);
  return values;
}

Json LabelJson(const Model& model, const LabelScore& label) {
  return {{"label", LabelName(model, label.label)}, {"score", label.score}};
}

Json AllLabels(const Model& model, const std::vector<float>& scores) {
  Json labels = Json::array();
  for (size_t i = 0; i < scores.size(); ++i) labels.push_back(LabelJson(model, {i, scores[i]}));
  return labels;
}

void AddResult(const Model& model, const PredictorInput& input, const Prediction& p,
               const PredictOptions& show, Json& out) {
  switch (model.task) {
    case Task::kSingleLabel:
      out = LabelJson(model, AppliedLabels(model, p).at(0));
      if (show.all) out["labels"] = AllLabels(model, p.scores);
      break;
    case Task::kMultiLabel:
      out["labels"] = Json::array();
      if (show.all) {
        out["labels"] = AllLabels(model, p.scores);
      } else {
        for (const LabelScore& l : AppliedLabels(model, p)) {
          out["labels"].push_back(LabelJson(model, l));
        }
      }
      break;
    case Task::kRegression:
      out["label"] = LabelName(model, 0);
      out["score"] = p.scores[0];
      if (p.scores.size() > 1) out["scores"] = p.scores;
      break;
    case Task::kTokenLabels: {
      out["tokens"] = Json::array();
      for (const TokenLabel& t : p.tokens) {
        const std::string& source = t.sequence == 1 && input.pair ? *input.pair : input.text;
        Json token = {{"text", input.ids.empty() ? Cut(source, t.range) : Piece(model, t.id)},
                      {"start", t.range.begin},
                      {"end", t.range.end},
                      {"label", LabelName(model, t.best.label)},
                      {"score", t.best.score}};
        if (input.pair) token["sequence"] = t.sequence;
        out["tokens"].push_back(std::move(token));
      }
      break;
    }
    case Task::kAnswers: {
      const auto json = [&](const Answer& answer) {
        const bool text = input.ids.empty() && input.pair.has_value();
        return Json{{"answer", text ? Cut(*input.pair, {answer.begin, answer.end}) : ""},
                    {"start", answer.begin},
                    {"end", answer.end},
                    {"score", answer.score}};
      };
      out.update(json(DecidedAnswer(p, show.no_answer)));
      if (show.answers > 1) {
        out["answers"] = Json::array();
        for (const Answer& answer : p.answers) out["answers"].push_back(json(answer));
      }
      break;
    }
    case Task::kMaskedLm:
    case Task::kPretraining: {
      out["masked"] = Json::array();
      for (const MaskedToken& masked : p.masked_tokens) {
        Json candidates = Json::array();
        for (const auto& c : masked.candidates) {
          candidates.push_back({{"token", Piece(model, c.id)}, {"id", c.id}, {"score", c.score}});
        }
        out["masked"].push_back({{"token", masked.token},
                                 {"start", masked.range.begin},
                                 {"end", masked.range.end},
                                 {"candidates", std::move(candidates)}});
      }
      break;
    }
    case Task::kFeatures:
      out["embedding"] = p.embedding;
      break;
  }
}

void AddRaw(const Model& model, const std::vector<std::string>& names, const Prediction& p,
            Json& out) {
  for (size_t i = 0; i < names.size(); ++i) {
    const FloatMatrix& matrix = p.raw[i];
    if (names[i] == "logits" && model.task == Task::kAnswers) {
      out["logits"] = {{"start", Column(matrix, 0)}, {"end", Column(matrix, 1)}};
    } else {
      const GraphOutput* output = model.graph.FindOutput(names[i]);
      const bool per_sequence =
          model.graph.value(output->value).type.rows == thimble::Rows::kSequences;
      out[names[i]] = per_sequence ? Json(matrix.values) : Rows(matrix);
    }
  }
}

// --- What a person sees

std::string Human(const Json& result) {
  const auto percent = [](const Json& score) {
    char text[16];
    std::snprintf(text, sizeof text, "%5.1f %%", 100.0 * score.get<double>());
    return std::string(text);
  };
  std::string line;
  if (result.contains("answer")) {
    return percent(result["score"]) + "  " + result["answer"].get<std::string>();
  }
  if (result.contains("tokens")) {
    for (const Json& t : result["tokens"]) {
      line += (line.empty() ? "" : " ") + t["text"].get<std::string>() + "/" +
              t["label"].get<std::string>();
    }
    return line;
  }
  if (result.contains("masked")) {
    for (const Json& masked : result["masked"]) {
      for (const Json& c : masked["candidates"]) {
        line +=
            (line.empty() ? "" : "  ") + c["token"].get<std::string>() + " " + percent(c["score"]);
      }
    }
    return line.empty() ? "(no masked token)" : line;
  }
  if (result.contains("embedding")) return result["embedding"].dump();
  if (result.contains("labels") && !result.contains("label")) {
    for (const Json& l : result["labels"]) {
      line +=
          (line.empty() ? "" : ", ") + l["label"].get<std::string>() + " " + percent(l["score"]);
    }
    return line.empty() ? "(none)" : line;
  }
  return percent(result["score"]) + "  " + result["label"].get<std::string>();
}

// --- The run

std::vector<std::string> RawOutputs(const PredictOptions& options, const Model& model) {
  std::vector<std::string> names;
  if (options.logits && model.task != Task::kFeatures) {
    names.push_back("logits");
    if (model.task == Task::kPretraining) names.push_back("seq_relationship_logits");
  }
  if (options.hidden) {
    names.push_back("last_hidden_state");
    if (model.graph.FindOutput("pooler_output") != nullptr) names.push_back("pooler_output");
  }
  return names;
}

struct Totals {
  size_t texts = 0, truncated_texts = 0, invalid_texts = 0;
};

class Runner {
 public:
  Runner(const PredictOptions& options, const Model& model, Predictor predictor,
         std::vector<std::string> raw)
      : options_(options), model_(model), predictor_(std::move(predictor)), raw_(std::move(raw)) {}

  Status Add(size_t line_number, const std::string& line) {
    Result<PredictorInput> input = ReadInput(line, options_);
    if (!input.has_value()) {
      return std::move(input).error().In("line " + std::to_string(line_number));
    }
    pending_.push_back(*std::move(input));
    if (pending_.size() == 1) first_line_ = line_number;
    return {};
  }
  size_t pending() const { return pending_.size(); }

  Status Flush(Output& output) {
    if (pending_.empty()) return {};
    Result<std::vector<Prediction>> predictions = predictor_.Predict(pending_);
    if (!predictions.has_value()) return BlameLine(std::move(predictions).error());
    for (size_t i = 0; i < pending_.size(); ++i) {
      const Prediction& p = (*predictions)[i];
      Json result;
      AddResult(model_, pending_[i], p, options_, result);
      AddRaw(model_, raw_, p, result);
      if (p.truncated_tokens != 0) result["truncated_tokens"] = p.truncated_tokens;
      if (p.invalid_bytes != 0) result["invalid_bytes"] = p.invalid_bytes;
      totals_.truncated_texts += p.truncated_tokens != 0;
      totals_.invalid_texts += p.invalid_bytes != 0;
      TRY_VOID(output.Line(options_.json ? DumpJson(result) : Human(result)));
    }
    totals_.texts += pending_.size();
    pending_.clear();
    return output.Flush();
  }

  const Totals& totals() const { return totals_; }

 private:
  // A batch fails as a whole; the line that is to blame fails alone too. What is wrong is the data, not
  // the call.
  Error BlameLine(Error error) {
    for (size_t i = 0; i < pending_.size(); ++i) {
      Result<std::vector<Prediction>> alone = predictor_.Predict({&pending_[i], 1});
      if (!alone.has_value()) {
        return InvalidData("line " + std::to_string(first_line_ + i) + ": " +
                           alone.error().message());
      }
    }
    return error;
  }

  const PredictOptions& options_;
  const Model& model_;
  Predictor predictor_;
  std::vector<std::string> raw_;
  std::vector<PredictorInput> pending_;
  size_t first_line_ = 0;
  Totals totals_;
};

Status RunPredict(const PredictOptions& options) {
  TRY(const Model model, ReadModel(options.model, options.adapter));
  std::vector<std::string> raw = RawOutputs(options, model);
  TRY(Predictor predictor, Predictor::Create(model, {.threads = options.threads,
                                                     .raw_outputs = raw,
                                                     .max_length = options.max_length,
                                                     .answers = options.answers}));
  Runner runner(options, model, std::move(predictor), std::move(raw));
  TRY(LineReader lines, LineReader::Open(options.input));
  const size_t batch = options.batch != 0 ? options.batch : lines.interactive() ? 1 : 32;
  Output output;
  std::string line;
  while (true) {
    TRY(const bool more, lines.Next(line));
    if (!more) break;
    TRY_VOID(runner.Add(lines.line_number(), line));
    if (runner.pending() == batch) TRY_VOID(runner.Flush(output));
  }
  TRY_VOID(runner.Flush(output));
  const Totals& totals = runner.totals();
  if (totals.truncated_texts != 0) {
    Note(std::to_string(totals.truncated_texts) + " of " + std::to_string(totals.texts) +
         " texts were longer than the model reads; their ends were cut off");
  }
  if (totals.invalid_texts != 0) {
    Note(std::to_string(totals.invalid_texts) + " of " + std::to_string(totals.texts) +
         " texts are not valid UTF-8; bad bytes were read as U+FFFD");
  }
  return {};
}

}  // namespace

Action SetupPredict(CLI::App& app) {
  auto o = std::make_shared<PredictOptions>();
  app.add_option("model", o->model, "a .thimble file")->required();
  app.add_option("input", o->input, "a file with one text per line, or - for standard input")
      ->capture_default_str();
  AddAdapterOptions(app, o->adapter);
  app.add_flag("--json", o->json, "one JSON object per line");
  app.add_flag("--jsonl", o->jsonl,
               R"(lines are {"text"}, {"text", "text_pair"} or {"question", "context"})");
  app.add_flag(
      "--ids", o->ids,
      R"(lines are {"input_ids", "token_type_ids", "attention_mask"}; the last two may be absent)");
  app.add_flag("--all", o->all, "every label with its score, not only those that apply");
  app.add_option("--n-best", o->answers,
                 "answers: how many spans to give, best first, in \"answers\" (with --json)")
      ->check(CLI::Range(size_t{1}, size_t{1000}).description(""))
      ->type_name("N");
  app.add_flag("--no-answer", o->no_answer,
               "answers: the empty one where \"no answer\" has the larger logit (SQuAD 2.0)");
  app.add_flag("--logits", o->logits, "add the logits (with --json)");
  app.add_flag("--hidden", o->hidden, "add the last hidden state (with --json)");
  app.add_option("--threads,--num_threads", o->threads, "threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--batch", o->batch, "sequences that run together; 0: 32, at a terminal 1")
      ->capture_default_str();
  app.add_option("--max-length", o->max_length, "tokens per sequence; 0: what the model takes")
      ->capture_default_str();
  return [o] { return RunPredict(*o); };
}

}  // namespace thimble::cli
