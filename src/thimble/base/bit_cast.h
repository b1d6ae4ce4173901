// std::bit_cast, which not every standard library of C++20 has (Emscripten's of Debian 12).
#pragma once

#include <cstring>
#include <type_traits>

namespace thimble {

template <class To, class From>
To BitCast(const From& from) {
  static_assert(sizeof(To) == sizeof(From) && std::is_trivially_copyable_v<To> &&
                std::is_trivially_copyable_v<From>);
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

}  // namespace thimble
