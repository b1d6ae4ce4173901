#include "thimble/data/overlap.h"

#include <cstring>
#include <string_view>
#include <unordered_set>

#include "thimble/data/example_key.h"

namespace thimble {
namespace {

// FNV-1a with a final mix (that of SplitMix64).
class Hash {
 public:
  void Add(std::string_view bytes) {
    for (const char c : bytes) state_ = (state_ ^ static_cast<uint8_t>(c)) * 0x100000001B3ull;
    AddNumber(bytes.size());
  }
  void AddNumber(uint64_t number) {
    char bytes[sizeof number];
    std::memcpy(bytes, &number, sizeof number);
    for (const char c : bytes) state_ = (state_ ^ static_cast<uint8_t>(c)) * 0x100000001B3ull;
  }
  uint64_t value() const {
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
  }

 private:
  uint64_t state_ = 0xCBF29CE484222325ull;
};

std::string FileName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

uint64_t KeyOf(const Example& example, bool with_labels) {
  Hash hash;
  hash.Add(example.text);
  if (example.pair) hash.Add(*example.pair);
  if (!with_labels) return hash.value();
  for (const int32_t label : example.labels) hash.AddNumber(static_cast<uint64_t>(label));
  for (const int32_t label : example.word_labels) hash.AddNumber(static_cast<uint64_t>(label));
  uint32_t value;
  std::memcpy(&value, &example.value, sizeof value);
  hash.AddNumber(value);
  for (const AnswerText& answer : example.answers) {
    hash.Add(answer.text);
    hash.AddNumber(answer.begin);
  }
  return hash.value();
}

Overlap CountOverlap(const Dataset& reference, const Dataset& other) {
  std::unordered_set<uint64_t> texts, rows;
  for (const Example& example : reference.examples) {
    texts.insert(KeyOf(example, false));
    rows.insert(KeyOf(example, true));
  }
  Overlap overlap{.total = other.examples.size()};
  // Label indices mean the same only where the sets agree.
  const size_t shared = std::min(reference.labels.size(), other.labels.size());
  const bool comparable = std::equal(reference.labels.begin(),
                                     reference.labels.begin() + static_cast<std::ptrdiff_t>(shared),
                                     other.labels.begin());
  for (const Example& example : other.examples) {
    overlap.rows += texts.contains(KeyOf(example, false));
    overlap.same_label += comparable && rows.contains(KeyOf(example, true));
  }
  return overlap;
}

std::optional<std::string> OverlapWords(const Dataset& reference, const Dataset& other) {
  const Overlap overlap = CountOverlap(reference, other);
  if (overlap.rows == 0) return std::nullopt;
  return std::to_string(overlap.rows) + " of " + std::to_string(overlap.total) + " rows of " +
         FileName(other.path) + " stand in " + FileName(reference.path) + " too (" +
         std::to_string(overlap.same_label) + " with the same label)";
}

}  // namespace thimble
