#include "thimble/base/format.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>

namespace thimble {

std::string FormatNumber(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string ShortestNumber(double value) {
  char text[32];
#ifdef __cpp_lib_to_chars
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
#else  // Emscripten's library of Debian 12
  constexpr int kAlwaysEnough = 17;
  for (int digits = 1; digits <= kAlwaysEnough; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (std::strtod(text, nullptr) == value) break;
  }
  return text;
#endif
}

}  // namespace thimble
