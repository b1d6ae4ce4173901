// Unicode as the tokenizers need it, at the versions that Hugging Face's Rust library has
// (generate_unicode.cc says which). Code points are any value up to 0x10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "thimble/text/unicode_flags.h"

namespace thimble {

namespace unicode_tables {
extern const uint8_t kFlagBlockIndex[];
extern const uint8_t kFlagBlocks[];
}  // namespace unicode_tables

inline uint8_t FlagsOf(char32_t c) {
  constexpr char32_t kMask = (1u << kUnicodeBlockBits) - 1;
  const size_t block = unicode_tables::kFlagBlockIndex[c >> kUnicodeBlockBits];
  return unicode_tables::kFlagBlocks[(block << kUnicodeBlockBits) + (c & kMask)];
}
inline bool HasFlag(char32_t c, uint8_t flag) { return (FlagsOf(c) & flag) != 0; }

// Lower case of one code point without regard to its neighbours; empty where it is its own.
std::span<const uint32_t> LowerCaseOf(char32_t c);

uint8_t CombiningClassOf(char32_t c);

// Writes the full canonical decomposition of one code point; returns its length, at most 4.
size_t Decompose(char32_t c, char32_t (&out)[4]);

}  // namespace thimble
