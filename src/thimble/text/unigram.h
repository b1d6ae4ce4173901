// Unigram segmentation: the pieces with the best sum of scores that a normalized text divides into.
//
// Equal to the tokenizer that Universal Sentence Encoder Lite is published with, whose answers
// where scores tie or nothing fits are part of what the model was measured with:
//   - sums are doubles, added from the left; of two equal sums the piece that begins later wins
//   - a sum of exactly 0 counts as "nothing found yet" and gives way to whatever comes next
//   - where no piece at all begins, one character is unknown, at score 0
//   - where pieces begin but none leads on, the text may be cut at a place that nothing reached:
//   its sum
//     is 0 too, and the character before it is unknown
//   - neighbouring unknowns are one
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/text/tokenizer.h"

namespace thimble {

// Immutable; any thread may use it.
class UnigramModel {
 public:
  // Uses pieces, scores, unknown_id and reserved_ids.
  static Result<UnigramModel> Create(const TokenizerSpec& spec);

  struct Piece {
    int32_t id = 0;
    uint32_t begin = 0, end = 0;  // bytes of the text
    bool operator==(const Piece&) const = default;
  };

  // `text` is valid UTF-8 of less than 4 GiB, normalized and with its word marks in place.
  std::vector<Piece> Segment(std::string_view text) const;

 private:
  static constexpr int32_t kNoPiece = -1;

  // A trie over the bytes of the pieces. Children of a node stand side by side, in the order of
  // their labels: children_[node] .. children_[node + 1].
  void BuildTrie(const std::vector<std::string>& pieces, size_t reserved);
  template <class Visit>
  bool ForEachPrefix(std::string_view text, Visit visit) const;

  std::vector<char> labels_;
  std::vector<uint32_t> children_;
  std::vector<int32_t> pieces_;
  std::vector<double> scores_;
  int32_t unknown_id_ = 0;
};

}  // namespace thimble
