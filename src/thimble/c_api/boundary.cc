#include "thimble/c_api/boundary.h"

#include <string_view>

#include "thimble/runtime/kernels/kernels.h"

namespace thimble::c_api {
namespace {

// Plain bytes: a text that says that memory is gone must not need any.
constexpr size_t kErrorBytes = 1024;
thread_local char error_text[kErrorBytes];

#define THIMBLE_TEXT_OF_(x) #x
#define THIMBLE_TEXT_OF(x) THIMBLE_TEXT_OF_(x)
constexpr char kVersion[] = THIMBLE_TEXT_OF(THIMBLE_VERSION_MAJOR) "." THIMBLE_TEXT_OF(
    THIMBLE_VERSION_MINOR) "." THIMBLE_TEXT_OF(THIMBLE_VERSION_PATCH);
static_assert(std::string_view(kVersion) == THIMBLE_PROJECT_VERSION,
              "thimble.h and CMakeLists.txt name different versions");

}  // namespace

thimble_status StatusOf(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return THIMBLE_INVALID_ARGUMENT;
    case ErrorCode::kNotFound:
      return THIMBLE_NOT_FOUND;
    case ErrorCode::kIo:
      return THIMBLE_IO;
    case ErrorCode::kInvalidData:
      return THIMBLE_INVALID_DATA;
    case ErrorCode::kUnsupported:
      return THIMBLE_UNSUPPORTED;
    case ErrorCode::kResourceExhausted:
      return THIMBLE_RESOURCE_EXHAUSTED;
    case ErrorCode::kLimitNotMet:
    case ErrorCode::kMismatch:
    case ErrorCode::kInterrupted:
      break;  // of the command line alone
  }
  return THIMBLE_INTERNAL;
}

thimble_status Report(thimble_status status, const char* message) noexcept {
  size_t length = std::min(std::strlen(message), kErrorBytes - 1);
  // Not in the middle of a character.
  if (message[length] != '\0') {
    while (length > 0 && (message[length] & 0xC0) == 0x80) --length;
  }
  std::memmove(error_text, message, length);
  error_text[length] = '\0';
  return status;
}

}  // namespace thimble::c_api

int32_t thimble_version(void) { return THIMBLE_VERSION; }
const char* thimble_version_text(void) { return thimble::c_api::kVersion; }
const char* thimble_instruction_set(void) { return thimble::BestKernels().name.data(); }
const char* thimble_error(void) { return thimble::c_api::error_text; }
