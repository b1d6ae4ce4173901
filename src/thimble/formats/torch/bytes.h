// Little-endian numbers in byte ranges. The caller has checked that they lie inside.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "thimble/base/check.h"

namespace thimble {

// True when bytes [offset, offset + size) exist; neither number can overflow the test.
inline bool Inside(std::span<const std::byte> bytes, uint64_t offset, uint64_t size) {
  return offset <= bytes.size() && size <= bytes.size() - offset;
}

template <std::unsigned_integral T>
T LittleEndian(std::span<const std::byte> bytes, size_t at) {
  THIMBLE_DCHECK(Inside(bytes, at, sizeof(T)));
  T value = 0;
  for (size_t i = sizeof(T); i-- > 0;) {
    value =
        static_cast<T>(static_cast<uint64_t>(value) << 8 | static_cast<uint64_t>(bytes[at + i]));
  }
  return value;
}

inline std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace thimble
