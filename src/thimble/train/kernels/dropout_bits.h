// The constants of the decisions of dropout, which scalars and vectors compute alike.
//
// One mix of 32 bits decides two elements: columns 32 n + i and 32 n + 16 + i share the mix number
// 16 n + i, the first takes its low half, the second its high half. The mix is the hash "lowbias32"
// (Ellis and Wellons 2018; two multiplications, bias 0.17) with the key entering twice, so that two
// rows that begin alike do not go on alike.
#pragma once

#include <cstdint>

namespace thimble {

inline constexpr uint32_t kMixStep = 0x9E3779B9;  // 2^32 / golden ratio, odd
inline constexpr uint32_t kMixFirst = 0x7FEB352D;
inline constexpr uint32_t kMixSecond = 0x846CA68B;

constexpr uint32_t MixBits(uint32_t key, uint32_t number) {
  uint32_t x = number * kMixStep ^ key;
  x = (x ^ x >> 16) * kMixFirst;
  x = ((x ^ x >> 15) + key) * kMixSecond;
  return x ^ x >> 16;
}

// The number of the mix of a column, and which half it takes.
constexpr uint32_t MixNumber(uint32_t column) { return column / 32 * 16 + column % 16; }
constexpr bool TakesHighHalf(uint32_t column) { return column % 32 >= 16; }

}  // namespace thimble
