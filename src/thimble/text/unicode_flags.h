// What the tables of unicode_tables.inc mean; shared by the program that writes them and unicode.h.
#pragma once

#include <cstdint>

namespace thimble {

// Code points per block of the flag table, and blocks per page: 32 each.
inline constexpr int kFlagBlockBits = 5, kFlagPageBits = 5;

struct UnicodeFlags {
  static constexpr uint8_t kWhiteSpace = 1;      // White_Space
  static constexpr uint8_t kControl = 2;         // Cc, Cf, Co, and U+FFFD: what cleaning removes
  static constexpr uint8_t kPunctuation = 4;     // P*, and ASCII's symbols
  static constexpr uint8_t kNonSpacingMark = 8;  // Mn
  static constexpr uint8_t kIdeograph = 16;      // CJK ideographs, each a word of its own
  static constexpr uint8_t kHasLowerCase = 32;   // lower case differs
  static constexpr uint8_t kNormalizes = 64;     // decomposes, or may change places with neighbours
  static constexpr uint8_t kWord = 128;          // part of a word, as regular expressions see it
};

}  // namespace thimble
