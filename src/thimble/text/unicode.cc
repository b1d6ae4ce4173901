#include "thimble/text/unicode.h"

#include <span>

#include "thimble/text/sparse_table.h"
#include "thimble/text/unicode_tables.inc"

namespace thimble {

using namespace unicode_tables;  // NOLINT: the generated tables are this file's own

namespace {

// Hangul syllables decompose by arithmetic (Unicode, section 3.12).
constexpr char32_t kFirstSyllable = 0xAC00, kSyllableCount = 11172;
constexpr char32_t kFirstLead = 0x1100, kFirstVowel = 0x1161, kBeforeTrail = 0x11A7;
constexpr char32_t kTrails = 28, kVowelsTimesTrails = 588;

}  // namespace

LowerCaseLetters LowerCaseOf(char32_t c) {
  LowerCaseLetters lower{};
  for (std::span<const uint16_t> units = kLowerCase.Find(c); !units.empty();) {
    lower.letters[lower.count++] = TakeCodePoint(units);
  }
  return lower;
}

uint8_t CombiningClassOf(char32_t c) {
  const size_t key = kCombiningClassKeys.Find(c);
  return key == SparseKeys::kNone ? 0 : kCombiningClassValues[key];
}

size_t Decompose(char32_t c, char32_t (&out)[4]) {
  if (c >= kFirstSyllable && c < kFirstSyllable + kSyllableCount) {
    const char32_t index = c - kFirstSyllable;
    out[0] = kFirstLead + index / kVowelsTimesTrails;
    out[1] = kFirstVowel + index % kVowelsTimesTrails / kTrails;
    if (index % kTrails == 0) return 2;
    out[2] = kBeforeTrail + index % kTrails;
    return 3;
  }
  size_t count = 0;
  for (std::span<const uint16_t> units = kDecomposition.Find(c); !units.empty();) {
    out[count++] = TakeCodePoint(units);
  }
  if (count == 0) out[count++] = c;
  return count;
}

}  // namespace thimble
