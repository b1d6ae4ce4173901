// Unicode normalization form KC, with the way back: which bytes of the input every byte comes from.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/text/tokenizer.h"

namespace thimble {

struct NormalizedText {
  std::string text;
  // For every byte of `text` the input's bytes that it was made of: a character, or the few
  // characters that were composed or reordered together.
  std::vector<ByteRange> source;
  size_t invalid_bytes = 0;  // not UTF-8, read as U+FFFD
};

// Less than 4 GiB of input.
NormalizedText NormalizeNfkc(std::string_view text);

}  // namespace thimble
