// What stands in nfkc_tables.inc; shared by the program that writes it and nfkc.cc.
#pragma once

#include <cstdint>

namespace thimble {

// In the place of a combining class: it is 0, and the character may join with one before it. (Others whose class is not
// 0 may too.)
inline constexpr uint8_t kComposesBackward = 255;

template <class CodePoint>
struct Composition {
  CodePoint first, second, composed;
};

}  // namespace thimble
