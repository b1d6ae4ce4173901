// WordPiece: a word as the longest pieces of the vocabulary, greedily from the left; a word that does not
// divide is unknown as a whole.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/text/tokenizer.h"

namespace thimble {

// A normalized word and where its bytes stand in the original text.
struct Word {
  std::string_view text;  // UTF-8, not empty
  // Of each byte; null where byte i stands at begin + i.
  const ByteRange* ranges = nullptr;
  uint32_t begin = 0;

  ByteRange Original(size_t from, size_t to) const {
    if (ranges != nullptr) return {ranges[from].begin, ranges[to - 1].end};
    return {begin + static_cast<uint32_t>(from), begin + static_cast<uint32_t>(to)};
  }
};

// Tokens of one text, without special tokens around them.
struct TokenList {
  std::vector<int32_t> ids;
  std::vector<ByteRange> offsets;
  size_t invalid_bytes = 0;
  // How many tokens there were when a word brought them to `limit`; the library reads no further than that
  // before it truncates, which shows where two texts are equally long.
  size_t limit = SIZE_MAX, count_at_limit = SIZE_MAX;

  void Add(int32_t id, ByteRange range) {
    ids.push_back(id);
    offsets.push_back(range);
  }
  void EndWord() {
    if (ids.size() >= limit && count_at_limit == SIZE_MAX) count_at_limit = ids.size();
  }
};

// Immutable; any thread may use it. Refers to the spec's pieces, which must outlive it.
class WordPieceModel {
 public:
  static Result<WordPieceModel> Create(const TokenizerSpec& spec);

  // Appends the pieces of a word. `hashes` is memory to work in. Time: the word's length times the length
  // of the longest piece, at worst.
  void Segment(const Word& word, TokenList& out, std::vector<uint64_t>& hashes) const;

  // The id of a whole piece, or -1. Where the vocabulary repeats a piece, the last one counts.
  int32_t Find(std::string_view piece) const { return Lookup(kWhole, Hash(kWhole, piece), piece); }

 private:
  // Pieces as they stand, and those with the continuing prefix once more without it.
  enum Domain : uint64_t { kWhole = 0x2545F4914F6CDD1Dull, kContinuation = 0x9FB21C651E98DF25ull };
  struct Slot {
    uint32_t fingerprint = 0;
    int32_t id = -1;
  };

  static uint64_t Extend(uint64_t hash, char c) {
    return (hash ^ static_cast<uint8_t>(c)) * 0x9E3779B97F4A7C15ull;
  }
  static uint64_t Hash(Domain domain, std::string_view text);
  bool IsContinuation(std::string_view piece) const;
  std::string_view PieceIn(Domain domain, int32_t id) const;
  void Insert(Domain domain, std::string_view text, int32_t id);
  int32_t Lookup(Domain domain, uint64_t hash, std::string_view text) const;

  const std::vector<std::string>* pieces_ = nullptr;
  std::string_view prefix_;   // of pieces that continue a word
  size_t longest_bytes_ = 0;  // of any piece
  size_t max_word_chars_ = 0;
  int32_t unknown_id_ = 0;
  std::vector<Slot> slots_;  // open addressing, a power of two
};

}  // namespace thimble
