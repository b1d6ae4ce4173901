// Unicode as the tokenizers need it, at the versions that Hugging Face's Rust library has
// (generate_unicode.cc says which). Code points are any value up to 0x10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>

#include "thimble/text/unicode_flags.h"

namespace thimble {

namespace unicode_tables {
extern const uint8_t kFlagPages[];
extern const uint16_t kFlagBlocks[];
extern const uint8_t kFlags[];
}  // namespace unicode_tables

inline uint8_t FlagsOf(char32_t c) {
  constexpr char32_t kInBlock = (1u << kFlagBlockBits) - 1, kInPage = (1u << kFlagPageBits) - 1;
  const size_t page = unicode_tables::kFlagPages[c >> (kFlagBlockBits + kFlagPageBits)];
  const size_t block =
      unicode_tables::kFlagBlocks[(page << kFlagPageBits) + (c >> kFlagBlockBits & kInPage)];
  return unicode_tables::kFlags[(block << kFlagBlockBits) + (c & kInBlock)];
}
inline bool HasFlag(char32_t c, uint8_t flag) { return (FlagsOf(c) & flag) != 0; }

// Lower case of one code point without regard to its neighbours: one or two, none where it is its own.
struct LowerCaseLetters {
  char32_t letters[2];
  size_t count;

  const char32_t* begin() const { return letters; }
  const char32_t* end() const { return letters + count; }
};
LowerCaseLetters LowerCaseOf(char32_t c);

uint8_t CombiningClassOf(char32_t c);

// Writes the full canonical decomposition of one code point; returns its length, at most 4.
size_t Decompose(char32_t c, char32_t (&out)[4]);

}  // namespace thimble
