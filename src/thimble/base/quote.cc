#include "thimble/base/quote.h"

namespace thimble {
namespace {

// Bytes of the UTF-8 sequence that begins at text[0], 0 when there is none.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies beyond U+10FFFF.
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

}  // namespace

std::string Quoted(std::string_view text, size_t limit_bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (out.size() + (length > 1 ? length : 1) > limit_bytes + 1) return out + "...\"";
    const auto c = static_cast<unsigned char>(text[0]);
    // C1 controls (U+0080 to U+009F) can steer a terminal too.
    const bool control = c < 0x20 || c == 0x7F ||
                         (length == 2 && c == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0);
    if (length == 0 || control) {
      for (const char raw : text.substr(0, length == 0 ? 1 : length)) {
        const auto b = static_cast<unsigned char>(raw);
        out += {'\\', 'x', kHex[b >> 4], kHex[b & 15]};
      }
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out + '"';
}

}  // namespace thimble
