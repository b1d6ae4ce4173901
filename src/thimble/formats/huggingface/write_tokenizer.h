// The tokenizer files of a Hugging Face directory: the inverse of tokenizer_files.h.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "thimble/text/tokenizer.h"

namespace thimble {

// Contents by file name:
//   tokenizer.json           for the fast classes; left out where words are never split, which those classes cannot do
//   vocab.txt                for the slow ones; left out where a piece cannot stand on a line, or the tokenizer is none
//                            of BERT's
//   tokenizer_config.json    settings, tokens with a role, added tokens
//   special_tokens_map.json  tokens with a role
// Nothing for a tokenizer that is not WordPiece. `class_prefix` is that of the model's classes ("MobileBert").
std::map<std::string, std::string> WriteTokenizerFiles(const TokenizerSpec& spec,
                                                       std::string_view class_prefix);

}  // namespace thimble
