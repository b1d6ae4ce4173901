// BERT's basic tokenizer: normalization, then words at white space and punctuation; each word is handed to
// WordPiece. As Hugging Face's BertNormalizer, BertPreTokenizer and WordPiece together.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/text/added_tokens.h"
#include "thimble/text/normalizer.h"
#include "thimble/text/wordpiece.h"

namespace thimble {

// Tokens of one text, without special tokens around them.
struct TokenList {
  std::vector<int32_t> ids;
  std::vector<ByteRange> offsets;
  size_t invalid_bytes = 0;
};

// Immutable; any thread may use it. Refers to the spec, which must outlive it and stay in place.
class BasicTokenizer {
 public:
  static Result<BasicTokenizer> Create(const TokenizerSpec& spec);

  void Tokenize(std::string_view text, TokenList& out) const;
  int32_t Find(std::string_view piece) const { return pieces_.Find(piece); }

 private:
  explicit BasicTokenizer(WordPieceModel pieces) : pieces_(std::move(pieces)) {}

  void TokenizePlain(std::string_view text, uint32_t base, TokenList& out) const;
  void TokenizeAscii(std::string_view text, uint32_t base, TokenList& out) const;
  void SplitNormalized(const std::vector<NormalCharacter>& text, TokenList& out) const;
  void SplitWords(const NormalCharacter* begin, const NormalCharacter* end, TokenList& out) const;
  bool TakeNeverSplit(const NormalCharacter* begin, const NormalCharacter* end, TokenList& out) const;

  const TokenizerSpec* spec_ = nullptr;
  WordPieceModel pieces_;
  NormalizerOptions normalizer_;
  AddedTokenFinder raw_tokens_;         // found before normalization
  AddedTokenFinder normalized_tokens_;  // found after it
  std::unordered_set<std::string> never_split_;
};

}  // namespace thimble
