#include "thimble/base/quote.h"

#include "thimble/base/utf8.h"

namespace thimble {

std::string Quoted(std::string_view text, size_t limit_bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
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
