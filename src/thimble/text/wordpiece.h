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

// A word and where its characters stand in the original text.
struct Word {
  std::string text;                // UTF-8, normalized
  std::vector<uint32_t> starts;    // byte in `text` of each character
  std::vector<ByteRange> ranges;   // of each character

  void Clear() {
    text.clear();
    starts.clear();
    ranges.clear();
  }
  bool empty() const { return text.empty(); }
};

// Immutable; any thread may use it. Refers to the spec, which must outlive it and stay in place.
class WordPieceModel {
 public:
  static Result<WordPieceModel> Create(const TokenizerSpec& spec);

  // Appends the pieces of a word that is not empty.
  void Segment(const Word& word, std::vector<int32_t>& ids, std::vector<ByteRange>& offsets) const;

  // The id of a whole piece, or -1. Where the vocabulary repeats a piece, the last one counts.
  int32_t Find(std::string_view piece) const { return Lookup(kWhole, piece); }

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
  std::string_view PieceIn(Domain domain, int32_t id) const;
  void Insert(Domain domain, std::string_view text, int32_t id);
  int32_t LookupHashed(Domain domain, uint64_t hash, std::string_view text) const;
  int32_t Lookup(Domain domain, std::string_view text) const;

  const std::vector<std::string>* pieces_ = nullptr;
  const std::string* prefix_ = nullptr;
  size_t longest_bytes_ = 0;  // of any piece
  size_t max_word_chars_ = 0;
  int32_t unknown_id_ = 0;
  std::vector<Slot> slots_;  // open addressing, a power of two
};

}  // namespace thimble
