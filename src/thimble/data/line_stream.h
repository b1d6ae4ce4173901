// Lines of a ByteSource, one in memory at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "thimble/base/result.h"
#include "thimble/data/byte_source.h"

namespace thimble {

// A line ends at \n or \r\n; a byte order mark at the start is left out; the last line needs no end. UTF-16 is
// refused by its mark. Errors name the line; the caller adds the file.
class LineStream {
 public:
  static constexpr size_t kMaxLineBytes = size_t{64} << 20;

  explicit LineStream(ByteSource source) : source_(std::move(source)) {}

  // False at the end. `line` is good until the next call.
  Result<bool> Next(std::string_view& line);
  // What ended the last line: "\n", "\r\n", or nothing.
  std::string_view end() const { return end_; }
  int64_t line_number() const { return line_number_; }  // of the last line, from 1
  const ByteSource& source() const { return source_; }

 private:
  ByteSource source_;
  std::string buffer_;
  size_t begin_ = 0;  // of what was not given out yet
  bool at_end_ = false;
  std::string_view end_;
  int64_t line_number_ = 0;
};

}  // namespace thimble
