// Numbers as text, for messages and tables.
#pragma once

#include <string>

namespace thimble {

// One number by a format of printf, at most 63 characters: FormatNumber("%.2fx", 1.5) is "1.50x".
std::string FormatNumber(const char* format, double value);

// The fewest digits that read back as the same number.
std::string ShortestNumber(double value);

}  // namespace thimble
