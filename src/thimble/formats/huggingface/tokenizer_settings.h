// What a Hugging Face directory says about its tokenizer besides the vocabulary.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/huggingface/json.h"
#include "thimble/text/tokenizer.h"

namespace thimble {

inline constexpr int32_t kNoId = -1;
// Ids of tokens come from files; beyond this they are mistakes.
inline constexpr int64_t kMaxTokenId = int64_t{1} << 24;

inline AddedToken Special(std::string text) {
  return {.id = kNoId, .text = std::move(text), .special = true};
}

struct TokenizerSettings {
  std::string tokenizer_class;  // without "Fast"; empty: not given
  std::optional<bool> lower_case, chinese_chars, basic_tokenize;
  // strip_accents: the key is there; then unset means null, "as lower_case".
  bool has_strip_accents = false;
  std::optional<bool> strip_accents;
  std::vector<std::string> never_split;
  // Tokens with a role. Those that the vocabulary does not have do not exist.
  AddedToken unknown = Special("[UNK]"), sep = Special("[SEP]"), pad = Special("[PAD]"),
             cls = Special("[CLS]"), mask = Special("[MASK]");
  // Further ones, with their ids where a file gives them, else kNoId.
  std::vector<AddedToken> additional, listed;
  int64_t model_max_length = 0;  // 0: no limit
};

// From the contents of tokenizer_config.json, special_tokens_map.json and added_tokens.json, empty where
// a file is missing. The latter two count only for directories written before tokenizer_config.json had
// "added_tokens_decoder". Errors name the file.
Result<TokenizerSettings> ReadTokenizerSettings(const Json& tokenizer_config,
                                                const Json& special_tokens_map,
                                                const Json& added_tokens);

// A token of "added_tokens" or "added_tokens_decoder", but for its id.
Result<AddedToken> ReadAddedToken(const Json& token);

// Adds the tokens of `settings` that the specification does not have yet, with the id of the piece of that
// name, else their own, else the next free one.
void AddTokens(const TokenizerSettings& settings, TokenizerSpec& spec);

// Finds the ids of the tokens with a role that are still kNoId, by name, and sees to it that each of
// them is the id of a piece.
void FindSpecialIds(const TokenizerSettings& settings, TokenizerSpec& spec);

}  // namespace thimble
