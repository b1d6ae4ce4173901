// Four-bit codes in memory: two's complement, two to a byte, the first in the low half.
#pragma once

#include <cstddef>
#include <cstdint>

namespace thimble {

inline int8_t LoadInt4(const std::byte* codes, size_t i) {
  const auto byte = static_cast<uint8_t>(codes[i / 2]);
  const auto high = static_cast<int8_t>(i % 2 == 0 ? byte << 4 : byte);
  return static_cast<int8_t>(high >> 4);
}

// The other code of the byte stays as it is.
inline void StoreInt4(std::byte* codes, size_t i, int8_t code) {
  const auto bits = static_cast<std::byte>(code & 0xF);
  std::byte& byte = codes[i / 2];
  byte = i % 2 == 0 ? (byte & std::byte{0xF0}) | bits : (byte & std::byte{0x0F}) | bits << 4;
}

}  // namespace thimble
