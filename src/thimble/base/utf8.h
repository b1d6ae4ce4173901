// UTF-8, checked.
#pragma once

#include <cstddef>
#include <string_view>

namespace thimble {

// Bytes of the well-formed sequence (Unicode, table 3-7) that begins at text[0]; 0 when there is none.
size_t Utf8SequenceLength(std::string_view text);

bool IsUtf8(std::string_view text);

}  // namespace thimble
