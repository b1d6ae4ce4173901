#include "thimble/text/unicode.h"

#include <algorithm>
#include <iterator>

#include "thimble/text/unicode_tables.inc"

namespace thimble {

using namespace unicode_tables;  // NOLINT: the generated tables are this file's own

namespace {

template <size_t kKeys, size_t kBegins, size_t kValues>
std::span<const uint32_t> Find(const uint32_t (&keys)[kKeys], const uint16_t (&begins)[kBegins],
                               const uint32_t (&values)[kValues], char32_t c) {
  const auto found = std::lower_bound(std::begin(keys), std::end(keys), static_cast<uint32_t>(c));
  if (found == std::end(keys) || *found != static_cast<uint32_t>(c)) return {};
  const auto i = static_cast<size_t>(found - std::begin(keys));
  return {values + begins[i], values + begins[i + 1]};
}

// Hangul syllables decompose by arithmetic (Unicode, section 3.12).
constexpr char32_t kFirstSyllable = 0xAC00, kSyllableCount = 11172;
constexpr char32_t kFirstLead = 0x1100, kFirstVowel = 0x1161, kBeforeTrail = 0x11A7;
constexpr char32_t kTrails = 28, kVowelsTimesTrails = 588;

}  // namespace

std::span<const uint32_t> LowerCaseOf(char32_t c) {
  return Find(kLowerCaseKeys, kLowerCaseBegins, kLowerCaseValues, c);
}

uint8_t CombiningClassOf(char32_t c) {
  const auto found = Find(kCombiningClassKeys, kCombiningClassBegins, kCombiningClassValues, c);
  return found.empty() ? 0 : static_cast<uint8_t>(found[0]);
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
  const std::span<const uint32_t> found =
      Find(kDecompositionKeys, kDecompositionBegins, kDecompositionValues, c);
  if (found.empty()) {
    out[0] = c;
    return 1;
  }
  std::copy(found.begin(), found.end(), out);
  return found.size();
}

}  // namespace thimble
