#include "thimble/text/utf8.h"

namespace thimble {

Utf8Character DecodeUtf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1, true};
  const uint32_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return {0xFFFD, 1, false};
  // What may follow the first byte: not an overlong form, a surrogate, or beyond U+10FFFF.
  uint32_t least = 0x80, most = 0xBF;
  if (first == 0xE0) least = 0xA0;
  if (first == 0xED) most = 0x9F;
  if (first == 0xF0) least = 0x90;
  if (first == 0xF4) most = 0x8F;
  uint32_t code_point = first & (0x7Fu >> length);
  for (uint32_t i = 1; i < length; ++i) {
    if (at + i >= text.size() || byte(i) < least || byte(i) > most) return {0xFFFD, i, false};
    code_point = code_point << 6 | (byte(i) & 0x3Fu);
    least = 0x80;
    most = 0xBF;
  }
  return {code_point, length, true};
}

void AppendUtf8(char32_t c, std::string& text) {
  const auto append = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (c < 0x80) {
    append(c);
  } else if (c < 0x800) {
    append(0xC0 | c >> 6), append(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    append(0xE0 | c >> 12), append(0x80 | (c >> 6 & 0x3F)), append(0x80 | (c & 0x3F));
  } else {
    append(0xF0 | c >> 18), append(0x80 | (c >> 12 & 0x3F));
    append(0x80 | (c >> 6 & 0x3F)), append(0x80 | (c & 0x3F));
  }
}

}  // namespace thimble
