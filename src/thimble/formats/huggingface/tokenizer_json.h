// tokenizer.json: the complete description that Hugging Face's Rust library loads.
#pragma once

#include <string>
#include <variant>

#include "thimble/base/result.h"
#include "thimble/formats/huggingface/json.h"
#include "thimble/formats/huggingface/tokenizer_settings.h"
#include "thimble/text/tokenizer.h"

namespace thimble {

// True for a WordPiece model; others are not described by a TokenizerSpec.
bool IsWordPieceJson(const Json& tokenizer);
// "BPE", "Unigram", ... for messages.
std::string TokenizerModelName(const Json& tokenizer);

// The WordPiece tokenizer in `tokenizer`. Parts that the text room does not know (other normalizers,
// pre-tokenizers, templates) are kUnsupported by name. `settings` override what Hugging Face's classes for
// BERT let them override: lower-casing, accents, Chinese characters.
Result<TokenizerSpec> ReadTokenizerJson(const Json& tokenizer, const TokenizerSettings& settings);

}  // namespace thimble
