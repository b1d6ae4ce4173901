// The tokenizer of a Hugging Face directory.
#pragma once

#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/huggingface/tokenizer_settings.h"
#include "thimble/text/tokenizer.h"

namespace thimble {

struct TokenizerFiles {
  TokenizerSpec spec;
  std::vector<std::string> warnings;
};

// What Hugging Face's fast tokenizers would use: tokenizer.json where there is one, else vocab.txt with the
// settings of tokenizer_config.json, special_tokens_map.json and added_tokens.json. Directories without
// either, or with a tokenizer that is not WordPiece, give TokenizerKind::kNone; the latter with a warning.
Result<TokenizerFiles> ReadTokenizerFiles(const std::string& directory);

// The WordPiece tokenizer of a vocab.txt with these contents.
Result<TokenizerSpec> TokenizerFromVocabulary(std::string_view vocabulary,
                                              const TokenizerSettings& settings);

}  // namespace thimble
