#include "thimble/text/nfkc.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "thimble/text/nfkc_flags.h"
#include "thimble/text/sparse_table.h"
#include "thimble/text/utf8.h"

#include "thimble/text/nfkc_tables.inc"

namespace thimble {
namespace {

// A combining class or kComposesBackward.
uint8_t JoiningOf(char32_t c) {
  const size_t key = nfkc_tables::kClassKeys.Find(c);
  return key == SparseKeys::kNone ? 0 : nfkc_tables::kClassValues[key];
}

uint8_t CombiningClass(char32_t c) {
  const uint8_t joining = JoiningOf(c);
  return joining == kComposesBackward ? 0 : joining;
}

// Hangul syllables are arithmetic (Unicode 15, section 3.12).
constexpr char32_t kLead = 0x1100, kVowel = 0x1161, kTail = 0x11A7, kSyllable = 0xAC00;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28, kSyllables = kLeads * kVowels * kTails;

template <class CodePoint>
char32_t FindComposition(std::span<const Composition<CodePoint>> table, char32_t first,
                         char32_t second) {
  const auto found =
      std::lower_bound(table.begin(), table.end(), Composition<char32_t>{first, second, 0},
                       [](const Composition<CodePoint>& a, const Composition<char32_t>& b) {
                         return a.first != b.first ? a.first < b.first : a.second < b.second;
                       });
  const bool exact = found != table.end() && found->first == first && found->second == second;
  return exact ? found->composed : 0;
}

char32_t Compose(char32_t first, char32_t second) {
  if (first - kLead < kLeads && second - kVowel < kVowels) {
    return kSyllable + ((first - kLead) * kVowels + (second - kVowel)) * kTails;
  }
  if (first - kSyllable < kSyllables && (first - kSyllable) % kTails == 0 &&
      second - kTail < kTails && second != kTail) {
    return first + (second - kTail);
  }
  const char32_t composed = FindComposition<char16_t>(nfkc_tables::kCompositions, first, second);
  return composed != 0 ? composed
                       : FindComposition<char32_t>(nfkc_tables::kWideCompositions, first, second);
}

// Whether normalization can be cut before `c`: nothing in front of it can join or move past it.
bool IsBoundary(char32_t c) {
  std::span<const uint16_t> parts = nfkc_tables::kDecomposition.Find(c);
  return JoiningOf(parts.empty() ? c : TakeCodePoint(parts)) == 0;
}

// Normalizes a stretch between two boundaries. The buffer is kept from one to the next.
class Stretch {
 public:
  void Clear() { characters_.clear(); }

  void Add(char32_t c) {
    if (const char32_t s = c - kSyllable; s < kSyllables) {
      Push(kLead + s / (kVowels * kTails));
      Push(kVowel + s / kTails % kVowels);
      if (s % kTails != 0) Push(kTail + s % kTails);
      return;
    }
    std::span<const uint16_t> parts = nfkc_tables::kDecomposition.Find(c);
    if (parts.empty()) return Push(c);
    while (!parts.empty()) Push(TakeCodePoint(parts));
  }

  // Orders and composes, then appends to `text`.
  void AppendTo(std::string& text) {
    Order();
    size_t out = 0, starter = 0;
    int last_class = 256;  // of what stands between the starter and here; 256: there is no starter
    for (size_t i = 0; i < characters_.size(); ++i) {
      const Character c = characters_[i];
      const char32_t composed = last_class < c.combining_class
                                    ? Compose(characters_[starter].code_point, c.code_point)
                                    : 0;
      if (composed != 0) {
        characters_[starter].code_point = composed;
        continue;
      }
      if (c.combining_class == 0) {
        starter = out;
        last_class = -1;
      } else if (last_class != 256) {
        last_class = c.combining_class;
      }
      characters_[out++] = c;
    }
    for (size_t i = 0; i < out; ++i) AppendUtf8(characters_[i].code_point, text);
  }

 private:
  struct Character {
    char32_t code_point;
    uint8_t combining_class;
  };

  void Push(char32_t c) { characters_.push_back({c, CombiningClass(c)}); }

  // Canonical order: every run of combining characters by class, otherwise as it was.
  void Order() {
    const auto is_starter = [](const Character& c) { return c.combining_class == 0; };
    for (auto begin = characters_.begin(); begin != characters_.end();) {
      const auto run = std::find_if_not(begin, characters_.end(), is_starter);
      const auto end = std::find_if(run, characters_.end(), is_starter);
      if (end - run > 1) {
        std::stable_sort(run, end, [](const Character& a, const Character& b) {
          return a.combining_class < b.combining_class;
        });
      }
      begin = end;
    }
  }

  std::vector<Character> characters_;
};

bool IsAscii(char c) { return static_cast<unsigned char>(c) < 0x80; }

}  // namespace

NormalizedText NormalizeNfkc(std::string_view text) {
  NormalizedText out;
  out.text.reserve(text.size());
  out.source.reserve(text.size());
  Stretch stretch;
  for (uint32_t begin = 0; begin < text.size();) {
    uint32_t end = begin + 1;
    if (IsAscii(text[begin]) && (end == text.size() || IsAscii(text[end]))) {
      out.text += text[begin];
      out.source.push_back({begin, end});
      begin = end;
      continue;
    }
    stretch.Clear();
    end = begin;
    do {
      const Utf8Character c = DecodeUtf8(text, end);
      if (end != begin && IsBoundary(c.code_point)) break;
      stretch.Add(c.code_point);
      if (!c.valid) out.invalid_bytes += c.bytes;
      end += c.bytes;
    } while (end < text.size());
    stretch.AppendTo(out.text);
    out.source.resize(out.text.size(), {begin, end});
    begin = end;
  }
  return out;
}

}  // namespace thimble
