#include "thimble/text/wordpiece_trainer.h"

#include <algorithm>
#include <map>
#include <queue>
#include <utility>

#include "thimble/text/unicode.h"
#include "thimble/text/utf8.h"

namespace thimble {
namespace {

struct CountedWord {
  std::vector<int32_t> symbols;  // ids of its pieces
  int64_t count;
};

using Pair = uint64_t;  // of two ids; compares as they do, the first one first

Pair PairOf(int32_t a, int32_t b) {
  return static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32 | static_cast<uint32_t>(b);
}
int32_t First(Pair pair) { return static_cast<int32_t>(pair >> 32); }
int32_t Second(Pair pair) { return static_cast<int32_t>(pair & 0xFFFFFFFFu); }

struct Candidate {
  int64_t count;
  Pair pair;
  bool operator<(const Candidate& other) const {  // the top of the queue is the largest
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

// What merging one pair changed for another.
struct Change {
  Pair pair;
  int32_t delta;
};

// Replaces the pair everywhere in the word, and says what that does to its neighbours.
void Merge(std::vector<int32_t>& symbols, Pair pair, int32_t merged, std::vector<Change>& changes) {
  size_t to = 0;
  for (size_t from = 0; from < symbols.size();) {
    if (from + 1 == symbols.size() || PairOf(symbols[from], symbols[from + 1]) != pair) {
      symbols[to++] = symbols[from++];
      continue;
    }
    if (to > 0) {
      changes.push_back({PairOf(symbols[to - 1], symbols[from]), -1});
      changes.push_back({PairOf(symbols[to - 1], merged), 1});
    }
    if (from + 2 < symbols.size()) {
      changes.push_back({PairOf(symbols[from + 1], symbols[from + 2]), -1});
      changes.push_back({PairOf(merged, symbols[from + 2]), 1});
    }
    symbols[to++] = merged;
    from += 2;
  }
  symbols.resize(to);
}

constexpr std::string_view kPrefix = "##";

class Learner {
 public:
  explicit Learner(std::vector<std::string>& pieces) : pieces_(pieces) {
    for (const std::string& piece : pieces_) ids_.emplace(piece, ids_.size());
  }

  int32_t Add(const std::string& piece) {
    const auto [entry, is_new] = ids_.emplace(piece, pieces_.size());
    if (is_new) pieces_.push_back(piece);
    return static_cast<int32_t>(entry->second);
  }
  int32_t IdOf(const std::string& piece) const { return static_cast<int32_t>(ids_.at(piece)); }

  void TakeWord(CountedWord word) {
    const auto index = static_cast<uint32_t>(words_.size());
    for (size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      const Pair pair = PairOf(word.symbols[i], word.symbols[i + 1]);
      counts_[pair] += word.count;
      Remember(pair, index);
    }
    words_.push_back(std::move(word));
  }

  Status Run(const WordPieceTrainerOptions& options, const WordPieceTrainer::Progress& progress) {
    for (const auto& [pair, count] : counts_) queue_.push({count, pair});
    while (pieces_.size() < options.vocabulary_size && !queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const int64_t count = counts_[top.pair];
      if (count != top.count) {  // it has become rarer since it was queued
        if (count > 0) queue_.push({count, top.pair});
        continue;
      }
      if (count < 1 || static_cast<uint64_t>(count) < options.min_frequency) break;
      MergeEverywhere(top.pair);
      if (progress && pieces_.size() % 256 == 0) TRY_VOID(progress(pieces_.size()));
    }
    return {};
  }

 private:
  void Remember(Pair pair, uint32_t word) {
    std::vector<uint32_t>& places = places_[pair];
    if (places.empty() || places.back() != word) places.push_back(word);
  }

  void MergeEverywhere(Pair pair) {
    std::string_view second = pieces_[static_cast<size_t>(Second(pair))];
    if (second.starts_with(kPrefix)) second.remove_prefix(kPrefix.size());
    const int32_t merged = Add(pieces_[static_cast<size_t>(First(pair))] + std::string(second));
    const std::vector<uint32_t> places = std::move(places_[pair]);
    places_.erase(pair);
    counts_.erase(pair);
    std::vector<Pair> grown;
    for (const uint32_t index : places) {
      CountedWord& word = words_[index];
      changes_.clear();
      Merge(word.symbols, pair, merged, changes_);
      for (const Change& change : changes_) {
        if (change.pair == pair) continue;  // of a run of the same character, all merged
        counts_[change.pair] += change.delta * word.count;
        if (change.delta < 0) continue;
        Remember(change.pair, index);
        grown.push_back(change.pair);
      }
    }
    std::sort(grown.begin(), grown.end());
    grown.erase(std::unique(grown.begin(), grown.end()), grown.end());
    for (const Pair other : grown) {
      if (counts_[other] > 0) queue_.push({counts_[other], other});
    }
  }

  std::vector<std::string>& pieces_;
  std::unordered_map<std::string, size_t> ids_;
  std::vector<CountedWord> words_;
  std::unordered_map<Pair, int64_t> counts_;
  std::unordered_map<Pair, std::vector<uint32_t>> places_;  // words that hold the pair, or once did
  std::priority_queue<Candidate> queue_;
  std::vector<Change> changes_;
};

// How often each character stands in the words.
std::map<char32_t, uint64_t> CountCharacters(
    const std::vector<std::pair<std::string, uint64_t>>& words) {
  std::map<char32_t, uint64_t> counts;
  for (const auto& [word, count] : words) {
    for (size_t at = 0; at < word.size();) {
      const Utf8Character c = DecodeUtf8(word, at);
      at += c.bytes;
      counts[c.code_point] += count;
    }
  }
  return counts;
}

// The most frequent ones, of equals those with the smaller code points, in their order.
std::vector<char32_t> Alphabet(const std::map<char32_t, uint64_t>& counts, size_t limit) {
  std::vector<std::pair<char32_t, uint64_t>> order(counts.begin(), counts.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (order.size() > limit) order.resize(limit);
  std::vector<char32_t> alphabet;
  for (const auto& [c, count] : order) alphabet.push_back(c);
  std::sort(alphabet.begin(), alphabet.end());
  return alphabet;
}

// The characters of a word as they stand in the vocabulary; none for a word with one outside the alphabet.
std::vector<std::string> Characters(const std::string& word,
                                    const std::vector<char32_t>& alphabet) {
  std::vector<std::string> characters;
  for (size_t at = 0; at < word.size();) {
    const Utf8Character c = DecodeUtf8(word, at);
    if (!std::binary_search(alphabet.begin(), alphabet.end(), c.code_point)) return {};
    characters.push_back(at == 0 ? "" : std::string(kPrefix));
    characters.back() += word.substr(at, c.bytes);
    at += c.bytes;
  }
  return characters;
}

}  // namespace

WordPieceTrainer::WordPieceTrainer(WordPieceTrainerOptions options) : options_(std::move(options)) {
  normalizer_ = {.clean_text = true,
                 .chinese_chars = true,
                 .strip_accents = options_.strip_accents.value_or(options_.lower_case),
                 .lower_case = options_.lower_case};
}

void WordPieceTrainer::Add(std::string_view text) {
  work_.clear();
  size_t invalid = 0;
  Normalize(text, 0, normalizer_, work_, invalid);
  size_t characters = 0;
  const auto flush = [&] {
    if (characters > 0) ++total_;
    if (characters > 0 && characters <= options_.max_word_chars) ++words_[word_];
    word_.clear();
    characters = 0;
  };
  for (const NormalCharacter& c : work_) {
    const bool alone = HasFlag(c.code_point, UnicodeFlags::kPunctuation);
    const bool blank = HasFlag(c.code_point, UnicodeFlags::kWhiteSpace);
    if (alone || blank) flush();
    if (blank) continue;
    AppendUtf8(c.code_point, word_);
    ++characters;
    if (alone) flush();
  }
  flush();
}

Result<TrainedVocabulary> WordPieceTrainer::Train(const Progress& progress) const {
  if (words_.empty()) return InvalidData("the text has no words");
  std::vector<std::pair<std::string, uint64_t>> words(words_.begin(), words_.end());
  std::sort(words.begin(), words.end());
  TrainedVocabulary result;
  result.words = total_;
  result.distinct_words = words.size();
  const std::map<char32_t, uint64_t> counts = CountCharacters(words);
  const std::vector<char32_t> alphabet = Alphabet(counts, options_.max_alphabet);
  result.characters = counts.size();
  result.alphabet = alphabet.size();

  result.pieces = options_.special_tokens;
  Learner learner(result.pieces);
  for (const char32_t c : alphabet) {
    std::string piece;
    AppendUtf8(c, piece);
    learner.Add(piece);
  }
  // Characters that continue a word, in the order of the alphabet whatever word they come from.
  std::vector<std::vector<std::string>> cut;
  std::vector<std::string> continuing;
  uint64_t kept = 0;
  for (const auto& [word, count] : words) {
    cut.push_back(Characters(word, alphabet));
    if (cut.back().empty()) continue;
    kept += count;
    continuing.insert(continuing.end(), cut.back().begin() + 1, cut.back().end());
    if (continuing.size() > 1'000'000) {
      std::sort(continuing.begin(), continuing.end());
      continuing.erase(std::unique(continuing.begin(), continuing.end()), continuing.end());
    }
  }
  std::sort(continuing.begin(), continuing.end());  // bytes of UTF-8 sort as code points do
  for (const std::string& piece : continuing) learner.Add(piece);
  result.words_left_out = total_ - kept;
  if (result.pieces.size() > options_.vocabulary_size) {
    return InvalidArgument(
        "a vocabulary of " + std::to_string(options_.vocabulary_size) +
        " pieces has no room for the special tokens and the " + std::to_string(alphabet.size()) +
        " characters of the alphabet, which take " + std::to_string(result.pieces.size()) +
        "; ask for more pieces or fewer characters");
  }
  for (size_t i = 0; i < words.size(); ++i) {
    CountedWord word{.symbols = {}, .count = static_cast<int64_t>(words[i].second)};
    for (const std::string& piece : cut[i]) word.symbols.push_back(learner.IdOf(piece));
    if (!word.symbols.empty()) learner.TakeWord(std::move(word));
  }
  TRY_VOID(learner.Run(options_, progress));
  return result;
}

}  // namespace thimble
