// Learns a WordPiece vocabulary from text.
//
//   WordPieceTrainer trainer({.vocabulary_size = 8000});
//   for (...) trainer.Add(line);
//   TRY(TrainedVocabulary vocabulary, trainer.Train());
//
// The algorithm is that of Hugging Face's WordPieceTrainer: words are counted, cut into characters (those
// after the first with "##"), and the most frequent pair of neighbours becomes a piece, again and again. Words are
// normalized and split as the tokenizer does it (normalizer.h), so that what was learned is what is found.
// Deterministic: of pairs that are equally frequent the one with the older (smaller) ids is taken, first piece
// first; the library's own order depends on its hash map. Words with a character outside the alphabet are left
// out, since the tokenizer reads such a word as unknown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/text/normalizer.h"

namespace thimble {

struct WordPieceTrainerOptions {
  size_t vocabulary_size = 8000;  // with special tokens and alphabet
  uint64_t min_frequency = 2;     // of a pair that becomes a piece
  size_t max_alphabet = 1000;     // the most frequent characters
  bool lower_case = true;
  std::optional<bool> strip_accents;  // unset: as lower_case
  size_t max_word_chars = 100;  // longer words are unknown to the tokenizer, and not learned from
  std::vector<std::string> special_tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
};

struct TrainedVocabulary {
  std::vector<std::string>
      pieces;             // special tokens, characters, "##" characters, then merges in order
  size_t alphabet = 0;    // characters kept
  size_t characters = 0;  // characters met
  uint64_t words = 0;     // in the text
  size_t distinct_words = 0;
  uint64_t words_left_out = 0;  // too long, or with a character outside the alphabet
};

class WordPieceTrainer {
 public:
  explicit WordPieceTrainer(WordPieceTrainerOptions options);

  void Add(std::string_view text);

  // Called now and then with the number of pieces so far; an error stops the training and is returned.
  using Progress = std::function<Status(size_t pieces)>;
  // Fails if no word was added, or vocabulary_size has no room for the alphabet. May give fewer pieces than asked
  // for: where no pair is frequent enough any more.
  Result<TrainedVocabulary> Train(const Progress& progress = {}) const;

 private:
  WordPieceTrainerOptions options_;
  NormalizerOptions normalizer_;
  std::unordered_map<std::string, uint64_t> words_;
  uint64_t total_ = 0;
  std::vector<NormalCharacter> work_;
  std::string word_;
};

}  // namespace thimble
