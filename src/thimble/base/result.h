// What a call that can fail returns: a value or an Error, never an exception.
//
//   Result<Graph> Import(std::span<const std::byte> file) {
//     TRY(Header header, ParseHeader(file));   // returns the Error upward
//     TRY_VOID(CheckVersion(header));
//     return Build(header);
//   }
//
// Member names follow std::expected. Errors describe input that cannot be used; a mistake in our own
// code is a THIMBLE_CHECK.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "thimble/base/check.h"

namespace thimble {

enum class ErrorCode : uint8_t {
  kInvalidArgument,    // the call was wrong                                     exit 2
  kNotFound,           // a file or a name that is not there                     exit 1
  kIo,                 // the system refused to read or write                    exit 1
  kInvalidData,        // bytes that are not what they claim to be               exit 1
  kUnsupported,        // understood, but outside what this program handles      exit 1
  kResourceExhausted,  // memory, disk or a stated limit                         exit 1
  kLimitNotMet,        // a quality or latency limit                             exit 3
  kMismatch,           // a validation against another runtime disagreed         exit 4
  kInterrupted,        // stopped by the user, resumable state kept              exit 130
};

// One line for a person: what, where, what to do.
class Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same error seen from one level up: "config.json: " + message.
  Error In(std::string_view place) && {
    message_.insert(0, ": ").insert(0, place);
    return std::move(*this);
  }

 private:
  ErrorCode code_;
  std::string message_;
};

inline Error InvalidArgument(std::string m) { return {ErrorCode::kInvalidArgument, std::move(m)}; }
inline Error NotFound(std::string m) { return {ErrorCode::kNotFound, std::move(m)}; }
inline Error IoError(std::string m) { return {ErrorCode::kIo, std::move(m)}; }
inline Error InvalidData(std::string m) { return {ErrorCode::kInvalidData, std::move(m)}; }
inline Error Unsupported(std::string m) { return {ErrorCode::kUnsupported, std::move(m)}; }
inline Error ResourceExhausted(std::string m) {
  return {ErrorCode::kResourceExhausted, std::move(m)};
}

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & { return (THIMBLE_CHECK(has_value()), *std::get_if<0>(&state_)); }
  const T& value() const& { return (THIMBLE_CHECK(has_value()), *std::get_if<0>(&state_)); }
  T&& value() && { return (THIMBLE_CHECK(has_value()), std::move(*std::get_if<0>(&state_))); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& { return (THIMBLE_CHECK(!has_value()), *std::get_if<1>(&state_)); }
  Error&& error() && { return (THIMBLE_CHECK(!has_value()), std::move(*std::get_if<1>(&state_))); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  const Error& error() const& { return (THIMBLE_CHECK(error_.has_value()), *error_); }
  Error&& error() && { return (THIMBLE_CHECK(error_.has_value()), *std::move(error_)); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace thimble

#define THIMBLE_CONCAT_(a, b) a##b
#define THIMBLE_CONCAT(a, b) THIMBLE_CONCAT_(a, b)

// TRY(declaration, expression): binds the value, or returns the Error from the enclosing function.
#define TRY(declaration, ...) \
  TRY_IMPL_(THIMBLE_CONCAT(try_result_, __LINE__), declaration, __VA_ARGS__)
#define TRY_IMPL_(tmp, declaration, ...)               \
  auto tmp = (__VA_ARGS__);                            \
  if (!tmp.has_value()) return std::move(tmp).error(); \
  declaration = *std::move(tmp)

// The same for a Status, or for a value that is not needed.
#define TRY_VOID(...)                                             \
  do {                                                            \
    if (auto try_status = (__VA_ARGS__); !try_status.has_value()) \
      return std::move(try_status).error();                       \
  } while (false)
