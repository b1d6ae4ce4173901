// UTF-8, one character at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace thimble {

struct Utf8Character {
  char32_t code_point = 0;
  uint32_t bytes = 0;
  bool valid = true;
};

// The character at `at`, which is inside `text`. What is not UTF-8 reads as U+FFFD, one per maximal
// subpart (Unicode 15, section 3.9), which is how the field's libraries and browsers read it.
Utf8Character DecodeUtf8(std::string_view text, size_t at);

void AppendUtf8(char32_t code_point, std::string& text);

}  // namespace thimble
