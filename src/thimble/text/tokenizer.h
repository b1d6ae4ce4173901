// Text to token ids, exactly as Hugging Face's Rust library `tokenizers` does it, and back to bytes.
//
// A Tokenizer is built once from a TokenizerSpec, is immutable, and may be used from any thread.
// Non-goals: byte-level BPE, training (thimble vocab does that), normalisers other than those below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"

namespace thimble {

enum class TokenizerKind : uint8_t {
  kNone,       // the model takes ids only
  kWordPiece,  // BERT: basic tokenizer, then greedy longest match
  kUnigram,    // pieces with scores, best segmentation by Viterbi (Universal Sentence Encoder)
};

// A token that is matched in the text before anything else (tokenizer.json "added_tokens").
struct AddedToken {
  int32_t id = 0;
  std::string text;
  bool special = false;                 // matched in the raw text and never normalized
  bool normalized = false;              // matched after normalization
  bool single_word = false;             // only between word boundaries
  bool lstrip = false, rstrip = false;  // takes the white space beside it along
  bool operator==(const AddedToken&) const = default;
};

// Everything that decides which ids a text gets; stored in the model file.
struct TokenizerSpec {
  TokenizerKind kind = TokenizerKind::kNone;
  std::vector<std::string> pieces;  // piece of id i, UTF-8
  // kUnigram only, one per piece. Double, as the publishers' tokenizers add them: which of two
  // segmentations wins is often a matter of the last bit.
  std::vector<double> scores;

  // Basic tokenizer of kWordPiece (BertNormalizer and BertPreTokenizer).
  bool basic_tokenize = true;  // false: split at white space only, no cleaning
  bool clean_text = true;
  bool lower_case = true;
  bool chinese_chars = true;          // every CJK ideograph is a word
  std::optional<bool> strip_accents;  // unset: as lower_case
  std::vector<std::string> never_split;
  std::string continuing_prefix = "##";
  int32_t max_word_chars = 100;  // longer words become the unknown token

  std::vector<AddedToken> added_tokens;
  // Ids; -1 where the model has no such token.
  int32_t unknown_id = -1, cls_id = -1, sep_id = -1, pad_id = -1, mask_id = -1;
  int32_t reserved_ids = 0;      // kUnigram: that many first ids are never produced from text
  int64_t model_max_length = 0;  // with special tokens; 0: no limit
  bool operator==(const TokenizerSpec&) const = default;
};

// Where a token comes from, in bytes of the text it was cut from; {0, 0} for special tokens.
struct ByteRange {
  uint32_t begin = 0, end = 0;
  bool operator==(const ByteRange&) const = default;
};

struct Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;
  std::vector<uint8_t> attention_mask;  // 0 for padding
  std::vector<ByteRange> offsets;
  // 0: from the first text, 1: from the second, -1: special or padding.
  std::vector<int8_t> sequence;
  // Tokens cut off by truncation, and bytes replaced because the text is not valid UTF-8.
  size_t truncated_tokens = 0;
  size_t invalid_bytes = 0;
};

enum class Truncation : uint8_t { kNone, kLongestFirst, kOnlyFirst, kOnlySecond };

struct EncodeOptions {
  bool add_special_tokens = true;
  Truncation truncation = Truncation::kLongestFirst;
  size_t max_length = 0;  // with special tokens; 0: the model's own limit
  size_t pad_to = 0;      // pads on the right to this length
};

class Tokenizer {
 public:
  // Refuses what cannot work: no pieces, ids out of range, missing scores. Where a piece is
  // repeated, its last id counts.
  static Result<Tokenizer> Create(TokenizerSpec spec);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  const TokenizerSpec& spec() const;
  std::optional<int32_t> IdOf(std::string_view piece) const;

  // [CLS] text [SEP]. Invalid UTF-8 is read as U+FFFD per maximal bad subsequence and counted.
  // Fails only where truncation cannot meet max_length.
  Result<Encoding> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  // [CLS] first [SEP] second [SEP]
  Result<Encoding> EncodePair(std::string_view first, std::string_view second,
                              const EncodeOptions& options = {}) const;

  // A question with a context too long for one input: windows over the context that overlap by `stride`
  // tokens, each [CLS] question [SEP] part [SEP], offsets into question and context.
  Result<std::vector<Encoding>> EncodeWindows(std::string_view question, std::string_view context,
                                              size_t max_length, size_t stride) const;

 private:
  class Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace thimble
