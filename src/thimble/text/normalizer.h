// BERT's text normalization: cleaning, CJK ideographs apart, accents away, lower case, in that order, as
// Hugging Face's BertNormalizer does it, with every character's place in the original kept.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "thimble/text/tokenizer.h"

namespace thimble {

// A character after normalization, and the bytes of the original that it stands for: several characters
// may share a range, and ranges may have gaps where characters were dropped.
struct NormalCharacter {
  char32_t code_point;
  ByteRange range;
};

struct NormalizerOptions {
  bool clean_text = true;     // drop control characters, make white space a blank
  bool chinese_chars = true;  // blanks around CJK ideographs
  bool strip_accents = true;  // decompose, then drop non-spacing marks
  bool lower_case = true;
};

// Appends the normalized characters of `text` to `out`; ranges count from `base`. Ill-formed UTF-8 is read
// as U+FFFD (which cleaning drops) and counted.
void Normalize(std::string_view text, uint32_t base, const NormalizerOptions& options,
               std::vector<NormalCharacter>& out, size_t& invalid_bytes);

}  // namespace thimble
