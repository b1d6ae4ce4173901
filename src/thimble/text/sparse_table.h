// Maps from a few thousand code points, as the generators print them (generate_tables.h): two or three bytes a key and
// what they map to in UTF-16, a third of what arrays of code points take. A search is within 256 code points.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace thimble {

inline constexpr int kSparseBlockBits = 8;

struct SparseKeys {
  std::span<const uint16_t>
      blocks;  // [b]: how many keys stand before block b; beyond the last block there are none
  const uint8_t* low;  // bytes of the keys, ascending in each block

  static constexpr size_t kNone = ~size_t{0};

  // The number of the key, or kNone.
  size_t Find(char32_t c) const {
    const size_t block = c >> kSparseBlockBits;
    if (block + 1 >= blocks.size()) return kNone;
    const uint8_t* const end = low + blocks[block + 1];
    const auto key = static_cast<uint8_t>(c);
    const uint8_t* const found = std::lower_bound(low + blocks[block], end, key);
    return found != end && *found == key ? static_cast<size_t>(found - low) : kNone;
  }
};

struct SparseMapping {
  SparseKeys keys;
  const uint16_t* begins;  // of each key's code points in `units`; one more at the end
  const uint16_t* units;   // UTF-16

  // What `c` maps to; empty: it is not a key.
  std::span<const uint16_t> Find(char32_t c) const {
    const size_t key = keys.Find(c);
    if (key == SparseKeys::kNone) return {};
    return {units + begins[key], units + begins[key + 1]};
  }
};

// Takes a code point off the front of well-formed UTF-16 that is not empty.
inline char32_t TakeCodePoint(std::span<const uint16_t>& units) {
  char32_t c = units[0];
  const bool pair = c >= 0xD800 && c < 0xDC00;
  if (pair) c = 0x10000 + ((c - 0xD800) << 10) + (units[1] - 0xDC00u);
  units = units.subspan(pair ? 2 : 1);
  return c;
}

}  // namespace thimble
