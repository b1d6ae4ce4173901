#include "thimble/formats/onnx/metadata.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "thimble/formats/huggingface/json.h"

namespace thimble {
namespace {

constexpr std::string_view kArchitecture = "thimble.architecture", kTask = "thimble.task",
                           kLength = "thimble.max_sequence_length",
                           kTokenizer = "thimble.tokenizer", kLabel = "thimble.label.",
                           kThreshold = "thimble.threshold.", kProvenance = "thimble.provenance.";

constexpr std::string_view kKinds[] = {"none", "wordpiece", "unigram"};

std::string_view TextOf(const OnnxMetadata& metadata, std::string_view key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string_view() : found->second;
}

// Shortest text that reads back as the same float.
std::string FloatText(float value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return {text, end};
}

std::optional<double> ParseNumber(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string> Numbered(const OnnxMetadata& metadata, std::string_view prefix) {
  std::vector<std::string> texts;
  for (size_t i = 0;; ++i) {
    const auto found = metadata.find(std::string(prefix) + std::to_string(i));
    if (found == metadata.end()) return texts;
    texts.push_back(found->second);
  }
}

// Reads keys one after the other; the first that is not as expected sticks.
class SpecReader {
 public:
  explicit SpecReader(const Json& json) : json_(json) {}

  void Read(const char* key, bool& to) { Take(FindFlag(json_, key), to); }
  void Read(const char* key, std::string& to) { Take(FindText(json_, key), to); }
  void Read(const char* key, int32_t& to) {
    int64_t wide = to;
    Read(key, wide);
    if (wide < INT32_MIN || wide > INT32_MAX) return Fail(key);
    to = static_cast<int32_t>(wide);
  }
  void Read(const char* key, int64_t& to) {
    const Json* value = Find(json_, key);
    if (value == nullptr) return;
    if (!value->is_number_integer()) return Fail(key);
    to = value->get<int64_t>();
  }
  void Read(const char* key, std::vector<std::string>& to) {
    const Json* list = Find(json_, key);
    if (list == nullptr) return;
    if (!list->is_array()) return Fail(key);
    for (const Json& entry : *list) {
      if (!entry.is_string()) return Fail(key);
      to.push_back(entry.get<std::string>());
    }
  }
  void Read(const char* key, std::vector<double>& to) {
    const Json* list = Find(json_, key);
    if (list == nullptr) return;
    if (!list->is_array()) return Fail(key);
    for (const Json& entry : *list) {
      if (!entry.is_number()) return Fail(key);
      to.push_back(entry.get<double>());
    }
  }
  void Fail(const char* key) {
    if (status_)
      status_ = InvalidData("\"" + std::string(key) + "\" is not what our exporter writes");
  }
  const Status& status() const { return status_; }

 private:
  template <class T>
  void Take(Result<std::optional<T>> value, T& to) {
    if (!value) {
      if (status_) status_ = value.error();
    } else if (*value) {
      to = **std::move(value);
    }
  }

  const Json& json_;
  Status status_;
};

// The fields that are read and written alike.
template <class Spec, class Visitor>
void VisitSpec(Spec& spec, Visitor&& v) {
  v("pieces", spec.pieces), v("scores", spec.scores), v("basic_tokenize", spec.basic_tokenize);
  v("clean_text", spec.clean_text), v("lower_case", spec.lower_case);
  v("chinese_chars", spec.chinese_chars), v("never_split", spec.never_split);
  v("continuing_prefix", spec.continuing_prefix), v("max_word_chars", spec.max_word_chars);
  v("unknown_id", spec.unknown_id), v("cls_id", spec.cls_id), v("sep_id", spec.sep_id);
  v("pad_id", spec.pad_id), v("mask_id", spec.mask_id), v("reserved_ids", spec.reserved_ids);
  v("model_max_length", spec.model_max_length);
}

}  // namespace

std::string TokenizerToJson(const TokenizerSpec& spec) {
  nlohmann::ordered_json json;
  json["kind"] = kKinds[static_cast<size_t>(spec.kind)];
  VisitSpec(spec, [&](const char* key, const auto& value) { json[key] = value; });
  if (spec.strip_accents) json["strip_accents"] = *spec.strip_accents;
  json["added_tokens"] = nlohmann::ordered_json::array();
  for (const AddedToken& token : spec.added_tokens) {
    json["added_tokens"].push_back({{"id", token.id},
                                    {"text", token.text},
                                    {"special", token.special},
                                    {"normalized", token.normalized},
                                    {"single_word", token.single_word},
                                    {"lstrip", token.lstrip},
                                    {"rstrip", token.rstrip}});
  }
  // A piece that is not UTF-8 is one that no text has.
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Result<TokenizerSpec> TokenizerFromJson(std::string_view text) {
  TRY(const Json json, ParseJsonObject(text));
  TokenizerSpec spec;
  SpecReader reader(json);
  std::string kind;
  reader.Read("kind", kind);
  const auto* found = std::ranges::find(kKinds, std::string_view(kind));
  if (found == std::end(kKinds)) return InvalidData("\"kind\" is no kind of tokenizer");
  spec.kind = static_cast<TokenizerKind>(found - std::begin(kKinds));
  VisitSpec(spec, [&](const char* key, auto& value) { reader.Read(key, value); });
  if (Find(json, "strip_accents") != nullptr) {
    bool strips = false;
    reader.Read("strip_accents", strips);
    spec.strip_accents = strips;
  }
  if (const Json* tokens = Find(json, "added_tokens"); tokens != nullptr) {
    if (!tokens->is_array()) reader.Fail("added_tokens");
    for (const Json& entry : *tokens) {
      AddedToken token;
      SpecReader fields(entry);
      fields.Read("id", token.id);
      fields.Read("text", token.text);
      fields.Read("special", token.special);
      fields.Read("normalized", token.normalized);
      fields.Read("single_word", token.single_word);
      fields.Read("lstrip", token.lstrip);
      fields.Read("rstrip", token.rstrip);
      if (!fields.status()) reader.Fail("added_tokens");
      spec.added_tokens.push_back(std::move(token));
    }
  }
  TRY_VOID(reader.status());
  return spec;
}

void WriteOnnxMetadata(const Model& model,
                       const std::function<void(std::string_view, std::string_view)>& put) {
  put(kArchitecture, model.architecture);
  put(kTask, TaskName(model.task));
  put(kLength, std::to_string(model.graph.max_sequence_length));
  for (size_t i = 0; i < model.labels.size(); ++i)
    put(std::string(kLabel) + std::to_string(i), model.labels[i]);
  for (size_t i = 0; i < model.thresholds.size(); ++i) {
    put(std::string(kThreshold) + std::to_string(i), FloatText(model.thresholds[i]));
  }
  if (model.tokenizer.kind != TokenizerKind::kNone)
    put(kTokenizer, TokenizerToJson(model.tokenizer));
  for (const auto& [key, text] : model.provenance) put(std::string(kProvenance) + key, text);
}

bool HasOnnxMetadata(const OnnxMetadata& metadata) { return metadata.contains(kTask); }

Status ReadOnnxMetadata(const OnnxMetadata& metadata, Model& model) {
  model.architecture = TextOf(metadata, kArchitecture);
  const std::optional<Task> task = TaskFromName(TextOf(metadata, kTask));
  if (!task) return InvalidData("its metadata name a task that there is not");
  model.task = *task;
  model.labels = Numbered(metadata, kLabel);
  for (const std::string& text : Numbered(metadata, kThreshold)) {
    const std::optional<double> threshold = ParseNumber(text);
    if (!threshold) return InvalidData("its metadata have a threshold that is no number");
    model.thresholds.push_back(static_cast<float>(*threshold));
  }
  const std::optional<double> length = ParseNumber(TextOf(metadata, kLength));
  if (length && *length >= 1 && *length < 1e9) {
    int64_t& longest = model.graph.max_sequence_length;
    longest = std::min(longest, static_cast<int64_t>(*length));
  }
  if (const std::string_view tokenizer = TextOf(metadata, kTokenizer); !tokenizer.empty()) {
    Result<TokenizerSpec> spec = TokenizerFromJson(tokenizer);
    if (spec) {
      const Result<Tokenizer> works = Tokenizer::Create(*spec);
      if (!works) spec = works.error();
    }
    if (!spec) return std::move(spec).error().In("metadata " + std::string(kTokenizer));
    model.tokenizer = *std::move(spec);
  }
  for (const auto& [key, text] : metadata) {
    if (key.starts_with(kProvenance))
      model.provenance.emplace_back(key.substr(kProvenance.size()), text);
  }
  return {};
}

}  // namespace thimble
