// BERT's basic tokenizer: normalization, then words at white space and punctuation; each word is handed to
// WordPiece. As Hugging Face's BertNormalizer, BertPreTokenizer and WordPiece together.
#pragma once

#include <array>
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

// Immutable; any thread may use it. Refers to the spec, which must outlive it and stay in place.
class BasicTokenizer {
 public:
  static Result<BasicTokenizer> Create(const TokenizerSpec& spec);

  void Tokenize(std::string_view text, TokenList& out) const;
  int32_t Find(std::string_view piece) const { return pieces_.Find(piece); }

 private:
  // What an ASCII character is to the tokenizer.
  enum class Ascii : uint8_t { kWord, kSpace, kPunctuation, kDropped };
  struct Work;  // memory of one call

  BasicTokenizer(const TokenizerSpec& spec, WordPieceModel pieces);

  void TokenizePlain(std::string_view text, uint32_t base, Work& work) const;
  size_t TokenizeAsciiRun(std::string_view text, size_t at, uint32_t base, Work& work) const;
  void TokenizeAny(std::string_view text, uint32_t base, Work& work) const;
  void SplitAtTokens(Work& work) const;
  void SplitWords(const NormalCharacter* begin, const NormalCharacter* end, Work& work) const;
  bool TakeNeverSplit(const NormalCharacter* begin, const NormalCharacter* end, Work& work) const;

  const TokenizerSpec* spec_;
  WordPieceModel pieces_;
  NormalizerOptions normalizer_;
  AddedTokenFinder raw_tokens_;         // found before normalization
  AddedTokenFinder normalized_tokens_;  // found after it
  std::unordered_set<std::string> never_split_;
  // ASCII needs no normalization but this.
  bool ascii_apart_ = false;  // words of ASCII may be taken by themselves
  std::array<Ascii, 128> kinds_{};
  std::array<char, 128> lower_{};
};

}  // namespace thimble
