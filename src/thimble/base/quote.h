// Text from a file, made fit for an error line.
#pragma once

#include <string>
#include <string_view>

namespace thimble {

// "name" in quotes on one line: control characters and bytes that are not UTF-8 become \xNN, quotes and
// backslashes are escaped, and what is longer than `limit_bytes` is cut and ends in "...".
std::string Quoted(std::string_view text, size_t limit_bytes = 160);

}  // namespace thimble
