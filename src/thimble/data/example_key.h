// Examples as keys, to find those that are the same.
#pragma once

#include <cstdint>

#include "thimble/data/dataset.h"

namespace thimble {

// A 64-bit hash of the texts of an example, and if asked of its labels, value and answers. Two different ones
// among a million have the same with a chance of 3 in 100 million, which is good enough for a count.
uint64_t KeyOf(const Example& example, bool with_labels);

}  // namespace thimble
