#include "thimble/base/format.h"

#include <cstdio>

namespace thimble {

std::string FormatNumber(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace thimble
