#include "thimble/formats/huggingface/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/formats/huggingface/vocabulary.h"

namespace thimble {
namespace {

constexpr int64_t kMaxWordChars = 1 << 20;

std::string TypeOf(const Json* part) {
  const Json* type = part == nullptr ? nullptr : Find(*part, "type");
  return type != nullptr && type->is_string() ? type->get<std::string>() : "";
}

Error UnknownPart(const char* part, const std::string& type) {
  return Unsupported(std::string("the ") + part + " " + Quoted(type) + " is not handled");
}

// {"piece": id, ...}, ids in any order and with gaps only where added tokens are.
Result<std::vector<std::string>> ReadPieces(const Json& model, size_t added_tokens) {
  const Json* vocab = Find(model, "vocab");
  if (vocab == nullptr || !vocab->is_object() || vocab->empty()) {
    return InvalidData("the model has no \"vocab\"");
  }
  const size_t limit = vocab->size() + added_tokens;
  std::vector<std::string> pieces;
  for (const auto& [piece, value] : vocab->items()) {
    const std::optional<int64_t> index = AsIndex(value, static_cast<int64_t>(limit));
    if (!index) {
      return InvalidData("the id of piece " + Quoted(piece) + " is not below " +
                         std::to_string(limit));
    }
    const auto id = static_cast<size_t>(*index);
    if (piece.empty()) continue;
    if (id >= pieces.size()) pieces.resize(id + 1);
    if (!pieces[id].empty()) {
      return InvalidData("pieces " + Quoted(pieces[id]) + " and " + Quoted(piece) + " have one id");
    }
    pieces[id] = piece;
  }
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].empty()) pieces[id] = UnreachablePiece(id);
  }
  return pieces;
}

Status ReadModel(const Json& model, size_t added_tokens, TokenizerSettings& settings,
                 TokenizerSpec& spec) {
  TRY(spec.pieces, ReadPieces(model, added_tokens));
  TRY(const std::optional<std::string> unknown, FindText(model, "unk_token"));
  if (unknown) settings.unknown.text = *unknown;
  TRY(const std::optional<std::string> prefix, FindText(model, "continuing_subword_prefix"));
  if (prefix) spec.continuing_prefix = *prefix;
  TRY(const std::optional<int64_t> chars, FindInteger(model, "max_input_chars_per_word"));
  if (chars) spec.max_word_chars = static_cast<int32_t>(std::min(*chars, kMaxWordChars));
  return {};
}

Status ReadNormalizer(const Json* normalizer, TokenizerSpec& spec) {
  spec.clean_text = spec.lower_case = spec.chinese_chars = false;
  spec.strip_accents = false;
  if (normalizer == nullptr) return {};
  const std::string type = TypeOf(normalizer);
  if (type != "BertNormalizer") return UnknownPart("normalizer", type);
  TRY(const std::optional<bool> clean, FindFlag(*normalizer, "clean_text"));
  TRY(const std::optional<bool> lower, FindFlag(*normalizer, "lowercase"));
  TRY(const std::optional<bool> chinese, FindFlag(*normalizer, "handle_chinese_chars"));
  TRY(spec.strip_accents, FindFlag(*normalizer, "strip_accents"));
  spec.clean_text = clean.value_or(true);
  spec.lower_case = lower.value_or(true);
  spec.chinese_chars = chinese.value_or(true);
  return {};
}

// The classes for BERT put the settings of tokenizer_config.json over those of tokenizer.json.
void ApplyOverrides(const TokenizerSettings& settings, TokenizerSpec& spec) {
  if (settings.tokenizer_class == "PreTrainedTokenizer") return;  // no class of a model's own
  spec.lower_case = settings.lower_case.value_or(spec.lower_case);
  spec.chinese_chars = settings.chinese_chars.value_or(spec.chinese_chars);
  if (settings.has_strip_accents) spec.strip_accents = settings.strip_accents;
}

Status ReadPreTokenizer(const Json* pre_tokenizer, bool has_normalizer, TokenizerSpec& spec) {
  const std::string type = TypeOf(pre_tokenizer);
  spec.basic_tokenize = type == "BertPreTokenizer";
  if (spec.basic_tokenize || (type == "WhitespaceSplit" && !has_normalizer)) return {};
  return UnknownPart("pre-tokenizer", type);
}

// An item of a template as text: "[CLS]:0" or "$A:0".
Result<std::string> TemplateItem(const Json& item) {
  const Json* sequence = Find(item, "Sequence");
  const Json* special = Find(item, "SpecialToken");
  const Json* part = sequence != nullptr ? sequence : special;
  if (part == nullptr) return InvalidData("the post-processor has an unknown item");
  TRY(const std::optional<std::string> id, FindText(*part, "id"));
  TRY(const std::optional<int64_t> type, FindInteger(*part, "type_id"));
  return (sequence != nullptr ? "$" : "") + id.value_or("") + ":" +
         std::to_string(type.value_or(0));
}

Result<std::vector<std::string>> TemplateItems(const Json& processor, const char* key) {
  const Json* items = Find(processor, key);
  if (items == nullptr || !items->is_array()) {
    return InvalidData(std::string("the post-processor has no list \"") + key + "\"");
  }
  std::vector<std::string> texts;
  for (const Json& item : *items) {
    TRY(std::string text, TemplateItem(item));
    texts.push_back(std::move(text));
  }
  return texts;
}

Result<int32_t> TemplateTokenId(const Json& processor, const std::string& token) {
  const Json* tokens = Find(processor, "special_tokens");
  const Json* entry = tokens == nullptr ? nullptr : Find(*tokens, token.c_str());
  const Json* ids = entry == nullptr ? nullptr : Find(*entry, "ids");
  const bool is_single = ids != nullptr && ids->is_array() && ids->size() == 1;
  const std::optional<int64_t> id = is_single ? AsIndex(ids->front(), kMaxTokenId) : std::nullopt;
  if (!id) return InvalidData("the post-processor has no id for " + Quoted(token));
  return static_cast<int32_t>(*id);
}

// [CLS] $A [SEP] and [CLS] $A [SEP] $B [SEP], type 1 from $B on.
Status ReadTemplate(const Json& processor, TokenizerSpec& spec) {
  TRY(const std::vector<std::string> single, TemplateItems(processor, "single"));
  TRY(const std::vector<std::string> pair, TemplateItems(processor, "pair"));
  const auto ends_with_zero = [](const std::string& item) { return item.ends_with(":0"); };
  if (single.size() != 3 || !std::ranges::all_of(single, ends_with_zero)) {
    return UnknownPart("post-processor's template", "single");
  }
  const std::string cls = single[0].substr(0, single[0].size() - 2);
  const std::string sep = single[2].substr(0, single[2].size() - 2);
  const std::vector<std::string> wanted = {cls + ":0", "$A:0", sep + ":0", "$B:1", sep + ":1"};
  if (single[1] != "$A:0" || pair != wanted)
    return UnknownPart("post-processor's template", "pair");
  TRY(spec.cls_id, TemplateTokenId(processor, cls));
  TRY(spec.sep_id, TemplateTokenId(processor, sep));
  return {};
}

// {"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}
Status ReadBertProcessing(const Json& processor, TokenizerSpec& spec) {
  const std::pair<const char*, int32_t*> tokens[] = {{"cls", &spec.cls_id}, {"sep", &spec.sep_id}};
  for (const auto& [key, id] : tokens) {
    const Json* token = Find(processor, key);
    const bool is_pair = token != nullptr && token->is_array() && token->size() == 2;
    const std::optional<int64_t> index =
        is_pair ? AsIndex(token->back(), kMaxTokenId) : std::nullopt;
    if (!index) return InvalidData(std::string("the post-processor has no id for \"") + key + "\"");
    *id = static_cast<int32_t>(*index);
  }
  return {};
}

Status ReadPostProcessor(const Json* processor, TokenizerSpec& spec) {
  const std::string type = TypeOf(processor);
  if (type == "TemplateProcessing") return ReadTemplate(*processor, spec);
  if (type == "BertProcessing") return ReadBertProcessing(*processor, spec);
  return UnknownPart("post-processor", type);
}

Status ReadAddedTokens(const Json* tokens, TokenizerSpec& spec) {
  if (tokens == nullptr) return {};
  if (!tokens->is_array()) return InvalidData("\"added_tokens\" must be a list");
  for (const Json& token : *tokens) {
    TRY(AddedToken added, ReadAddedToken(token));
    const Json* value = Find(token, "id");
    const std::optional<int64_t> id = value ? AsIndex(*value, kMaxTokenId) : std::nullopt;
    if (!id) return InvalidData("the added token " + Quoted(added.text) + " has no id");
    added.id = static_cast<int32_t>(*id);
    spec.added_tokens.push_back(std::move(added));
  }
  return {};
}

}  // namespace

bool IsWordPieceJson(const Json& tokenizer) {
  const Json* model = Find(tokenizer, "model");
  if (model == nullptr) return false;
  const std::string type = TypeOf(model);
  // The first versions of the format do not name the type.
  return type == "WordPiece" ||
         (type.empty() && Find(*model, "max_input_chars_per_word") != nullptr);
}

std::string TokenizerModelName(const Json& tokenizer) {
  const std::string type = TypeOf(Find(tokenizer, "model"));
  return type.empty() ? "unnamed" : type;
}

Result<TokenizerSpec> ReadTokenizerJson(const Json& tokenizer, const TokenizerSettings& settings) {
  const Json* model = Find(tokenizer, "model");
  if (model == nullptr) return InvalidData("has no \"model\"");
  TokenizerSettings names = settings;
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWordPiece;
  TRY_VOID(ReadAddedTokens(Find(tokenizer, "added_tokens"), spec));
  TRY_VOID(ReadModel(*model, spec.added_tokens.size(), names, spec));
  const Json* normalizer = Find(tokenizer, "normalizer");
  TRY_VOID(ReadNormalizer(normalizer, spec));
  TRY_VOID(ReadPreTokenizer(Find(tokenizer, "pre_tokenizer"), normalizer != nullptr, spec));
  if (spec.basic_tokenize) ApplyOverrides(settings, spec);
  TRY_VOID(ReadPostProcessor(Find(tokenizer, "post_processor"), spec));
  AddTokens(settings, spec);
  FindSpecialIds(names, spec);
  spec.model_max_length = settings.model_max_length;
  return spec;
}

}  // namespace thimble
