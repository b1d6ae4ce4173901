// Texts that stand in two splits at once.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "thimble/data/dataset.h"

namespace thimble {

struct Overlap {
  size_t rows = 0;  // of `other` whose texts (and pair) stand in `reference` too, byte for byte
  size_t same_label = 0;  // of these: with the same labels, value or answers as there
  size_t total = 0;       // rows of `other`
};

Overlap CountOverlap(const Dataset& reference, const Dataset& other);

// "46 of 50000 rows of test.tsv stand in train.tsv too (31 with the same label)", or nothing for none.
std::optional<std::string> OverlapWords(const Dataset& reference, const Dataset& other);

}  // namespace thimble
