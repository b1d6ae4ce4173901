// Where C meets C++: a Status or an exception becomes a thimble_status and a text of the thread, and structures
// that carry their size cross in either direction.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "thimble.h"
#include "thimble/base/result.h"

namespace thimble::c_api {

// Keeps the message for thimble_error() of this thread, cut to what fits.
thimble_status Report(thimble_status status, const char* message) noexcept;

thimble_status StatusOf(ErrorCode code) noexcept;

// Runs `body`, which gives a Status. Libraries below are built without exceptions: what the standard library throws
// through them (memory, threads) leaves behind what they had begun.
template <class Body>
thimble_status Guard(const Body& body) noexcept {
  try {
    const Status status = body();
    return status.has_value()
               ? THIMBLE_OK
               : Report(StatusOf(status.error().code()), status.error().message().c_str());
  } catch (const std::bad_alloc&) {
    return Report(THIMBLE_RESOURCE_EXHAUSTED, "there is not enough memory");
  } catch (const std::length_error&) {
    return Report(THIMBLE_RESOURCE_EXHAUSTED, "the input is larger than memory can be");
  } catch (const std::system_error&) {
    return Report(THIMBLE_RESOURCE_EXHAUSTED, "the system gives no more threads");
  } catch (...) {
    return Report(THIMBLE_INTERNAL, "an exception that nobody expects");
  }
}

// The same for a call that makes an object: `body` gives a Result with what `*out` is to own.
template <class Handle, class Body>
thimble_status Make(Handle** out, const Body& body) noexcept {
  if (out == nullptr) return Report(THIMBLE_INVALID_ARGUMENT, "the place for the result is NULL");
  *out = nullptr;
  return Guard([&]() -> Status {
    TRY(auto made, body());
    *out = made.release();
    return {};
  });
}

// A caller's structure as this library knows it: members that the caller's version has not are zero.
// kUnsupported: it has members that are set and that this library does not know.
template <class Struct>
Status ReadStruct(const Struct* from, Struct& to) {
  const size_t size = from->struct_size;
  if (size < sizeof(size_t)) return InvalidArgument("struct_size of a structure is not set");
  to = Struct{};
  const auto* bytes = reinterpret_cast<const unsigned char*>(from);
  for (size_t i = sizeof(Struct); i < size; ++i) {
    if (bytes[i] != 0) {
      return Unsupported(
          "a structure has members of a newer version of thimble.h than the library's " +
          std::string(thimble_version_text()));
    }
  }
  std::memcpy(&to, from, std::min(size, sizeof(Struct)));
  return {};
}

// Fills a caller's structure as far as it goes; members that this library does not know become zero.
template <class Struct>
Status WriteStruct(Struct from, Struct* to) {
  if (to == nullptr) return InvalidArgument("the place for the result is NULL");
  const size_t size = to->struct_size;
  if (size < sizeof(size_t)) return InvalidArgument("struct_size of a structure is not set");
  from.struct_size = size;
  auto* bytes = reinterpret_cast<unsigned char*>(to);
  std::memcpy(bytes, &from, std::min(size, sizeof(Struct)));
  if (size > sizeof(Struct)) std::memset(bytes + sizeof(Struct), 0, size - sizeof(Struct));
  return {};
}

}  // namespace thimble::c_api
