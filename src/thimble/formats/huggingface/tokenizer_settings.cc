#include "thimble/formats/huggingface/tokenizer_settings.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/formats/huggingface/vocabulary.h"

namespace thimble {
namespace {

struct Role {
  const char* key;
  AddedToken TokenizerSettings::*token;
};
constexpr Role kRoles[] = {
    {"unk_token", &TokenizerSettings::unknown}, {"sep_token", &TokenizerSettings::sep},
    {"pad_token", &TokenizerSettings::pad},     {"cls_token", &TokenizerSettings::cls},
    {"mask_token", &TokenizerSettings::mask},
};

// A token is a text, or an object with the text in "content".
Result<std::string> TokenText(const Json& token) {
  const Json* content = token.is_object() ? Find(token, "content") : &token;
  if (content == nullptr || !content->is_string()) {
    return InvalidData("a token is neither a text nor an object with \"content\"");
  }
  return content->get<std::string>();
}

// Special tokens are found in the text as it is, unless they say otherwise.
Result<AddedToken> ReadSpecialToken(const Json& token) {
  if (token.is_object()) {
    TRY(AddedToken added, ReadAddedToken(token));
    added.special = true;
    return added;
  }
  TRY(std::string text, TokenText(token));
  return Special(std::move(text));
}

// The roles and "additional_special_tokens", from either file that may have them; the later one counts.
Status ReadSpecialTokens(const Json& json, TokenizerSettings& settings) {
  for (const Role& role : kRoles) {
    if (const Json* token = Find(json, role.key)) {
      TRY(settings.*role.token, ReadSpecialToken(*token));
    }
  }
  const Json* more = Find(json, "additional_special_tokens");
  if (more == nullptr) return {};
  if (!more->is_array()) return InvalidData("\"additional_special_tokens\" must be a list");
  settings.additional.clear();
  for (const Json& token : *more) {
    TRY(AddedToken special, ReadSpecialToken(token));
    settings.additional.push_back(std::move(special));
  }
  return {};
}

// {"30522": {"content": "<new>", ...}}
Status ReadAddedTokensDecoder(const Json& decoder, std::vector<AddedToken>& tokens) {
  if (!decoder.is_object()) return InvalidData("\"added_tokens_decoder\" must be an object");
  for (const auto& [key, value] : decoder.items()) {
    const std::optional<int64_t> id = KeyAsIndex(key, kMaxTokenId);
    if (!id) return InvalidData("\"added_tokens_decoder\" has the id " + Quoted(key));
    TRY(AddedToken token, ReadAddedToken(value));
    token.id = static_cast<int32_t>(*id);
    tokens.push_back(std::move(token));
  }
  std::ranges::stable_sort(tokens, {}, &AddedToken::id);  // "10" stands before "9" in the object
  return {};
}

// added_tokens.json: {"<new>": 30522}
Status ReadAddedTokenIds(const Json& json, std::vector<AddedToken>& tokens) {
  for (const auto& [text, value] : json.items()) {
    const std::optional<int64_t> id = AsIndex(value, kMaxTokenId);
    if (!id) return InvalidData("the id of token " + Quoted(text) + " is no token id");
    tokens.push_back({.id = static_cast<int32_t>(*id), .text = text, .normalized = true});
  }
  std::ranges::stable_sort(tokens, {}, &AddedToken::id);
  return {};
}

// Hugging Face writes 10^30 where there is no limit.
Status ReadMaxLength(const Json& json, TokenizerSettings& settings) {
  const Json* length = Find(json, "model_max_length");
  if (length == nullptr) return {};
  if (!length->is_number() || !(length->get<double>() > 0)) {
    return InvalidData("\"model_max_length\" must be a positive number");
  }
  constexpr double kNoLimit = 1e9;
  const auto number = length->get<double>();
  settings.model_max_length = number < kNoLimit ? static_cast<int64_t>(number) : 0;
  return {};
}

Status ReadNeverSplit(const Json& json, TokenizerSettings& settings) {
  const Json* words = Find(json, "never_split");
  if (words == nullptr) return {};
  if (!words->is_array()) return InvalidData("\"never_split\" must be a list of texts");
  for (const Json& word : *words) {
    if (!word.is_string()) return InvalidData("\"never_split\" must be a list of texts");
    settings.never_split.push_back(word.get<std::string>());
  }
  return {};
}

Status ReadTokenizerConfig(const Json& json, TokenizerSettings& settings) {
  TRY(const std::optional<std::string> name, FindText(json, "tokenizer_class"));
  settings.tokenizer_class = name.value_or("");
  if (settings.tokenizer_class.ends_with("Fast")) settings.tokenizer_class.resize(name->size() - 4);
  TRY(settings.lower_case, FindFlag(json, "do_lower_case"));
  TRY(settings.chinese_chars, FindFlag(json, "tokenize_chinese_chars"));
  TRY(settings.basic_tokenize, FindFlag(json, "do_basic_tokenize"));
  TRY(settings.strip_accents, FindFlag(json, "strip_accents"));
  settings.has_strip_accents = json.contains("strip_accents");
  TRY_VOID(ReadNeverSplit(json, settings));
  return ReadMaxLength(json, settings);
}

Status In(const char* file, Status status) {
  if (!status) return std::move(status).error().In(file);
  return status;
}

const AddedToken* FindSpecial(const TokenizerSettings& settings, const std::string& text) {
  for (const Role& role : kRoles) {
    if ((settings.*role.token).text == text) return &(settings.*role.token);
  }
  const auto found = std::ranges::find(settings.additional, text, &AddedToken::text);
  return found == settings.additional.end() ? nullptr : &*found;
}

AddedToken WithId(AddedToken token, int32_t id) {
  token.id = id;
  return token;
}

// Ids by text of pieces and added tokens.
class IdsByText {
 public:
  explicit IdsByText(const TokenizerSpec& spec) {
    for (size_t i = 0; i < spec.pieces.size(); ++i) {
      ids_.emplace(spec.pieces[i], static_cast<int32_t>(i));
    }
    for (const AddedToken& token : spec.added_tokens) ids_.insert_or_assign(token.text, token.id);
  }
  int32_t Find(const std::string& text) const {
    const auto found = ids_.find(text);
    return found == ids_.end() ? kNoId : found->second;
  }

 private:
  std::unordered_map<std::string, int32_t> ids_;
};

}  // namespace

Result<AddedToken> ReadAddedToken(const Json& token) {
  if (!token.is_object()) return InvalidData("an added token is not an object");
  AddedToken added;
  added.id = kNoId;
  TRY(added.text, TokenText(token));
  const std::pair<const char*, bool AddedToken::*> flags[] = {
      {"special", &AddedToken::special},         {"normalized", &AddedToken::normalized},
      {"single_word", &AddedToken::single_word}, {"lstrip", &AddedToken::lstrip},
      {"rstrip", &AddedToken::rstrip},
  };
  for (const auto& [key, flag] : flags) {
    TRY(const std::optional<bool> value, FindFlag(token, key));
    added.*flag = value.value_or(false);
  }
  return added;
}

Result<TokenizerSettings> ReadTokenizerSettings(const Json& tokenizer_config,
                                                const Json& special_tokens_map,
                                                const Json& added_tokens) {
  constexpr const char* kConfig = "tokenizer_config.json";
  TokenizerSettings settings;
  TRY_VOID(In(kConfig, ReadTokenizerConfig(tokenizer_config, settings)));
  TRY_VOID(In(kConfig, ReadSpecialTokens(tokenizer_config, settings)));
  if (const Json* decoder = Find(tokenizer_config, "added_tokens_decoder")) {
    TRY_VOID(In(kConfig, ReadAddedTokensDecoder(*decoder, settings.listed)));
    return settings;
  }
  TRY_VOID(In("special_tokens_map.json", ReadSpecialTokens(special_tokens_map, settings)));
  TRY_VOID(In("added_tokens.json", ReadAddedTokenIds(added_tokens, settings.listed)));
  // added_tokens.json has ids only; what a token is stands with its role.
  for (AddedToken& token : settings.listed) {
    if (const AddedToken* special = FindSpecial(settings, token.text)) {
      token = WithId(*special, token.id);
    }
  }
  return settings;
}

void AddTokens(const TokenizerSettings& settings, TokenizerSpec& spec) {
  const IdsByText ids(spec);
  std::unordered_set<std::string> known;
  auto next_id = static_cast<int32_t>(spec.pieces.size());
  for (const AddedToken& token : spec.added_tokens) {
    known.insert(token.text);
    next_id = std::max(next_id, token.id + 1);
  }
  for (const AddedToken& token : settings.listed) next_id = std::max(next_id, token.id + 1);
  const auto add = [&](const AddedToken& token, int32_t fallback_id) {
    const int32_t found = ids.Find(token.text);
    const int32_t id = found != kNoId ? found : fallback_id;
    if (token.text.empty() || id == kNoId || !known.insert(token.text).second) return;
    spec.added_tokens.push_back(WithId(token, id));
    next_id = std::max(next_id, id + 1);
  };
  for (const AddedToken& token : settings.listed) add(token, token.id);
  for (const Role& role : kRoles) add(settings.*role.token, kNoId);
  for (const AddedToken& token : settings.additional) add(token, next_id);
}

void FindSpecialIds(const TokenizerSettings& settings, TokenizerSpec& spec) {
  const IdsByText ids(spec);
  const std::pair<int32_t*, const std::string*> roles[] = {
      {&spec.unknown_id, &settings.unknown.text}, {&spec.cls_id, &settings.cls.text},
      {&spec.sep_id, &settings.sep.text},         {&spec.pad_id, &settings.pad.text},
      {&spec.mask_id, &settings.mask.text},
  };
  for (const auto& [id, text] : roles) {
    if (*id == kNoId) *id = ids.Find(*text);
  }
  // An added token may have a role; its own text among the pieces would be found inside words too.
  const size_t limit = spec.pieces.size() + spec.added_tokens.size();
  for (const auto& [id, text] : roles) {
    while (*id >= 0 && static_cast<size_t>(*id) < limit &&
           static_cast<size_t>(*id) >= spec.pieces.size()) {
      spec.pieces.push_back(UnreachablePiece(spec.pieces.size()));
    }
  }
}

}  // namespace thimble
