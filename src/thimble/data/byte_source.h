// The bytes of a file in order, gzip undone where the file begins as gzip does.
//
// Memory is one buffer. A file may not grow more than kMaxGrowth times by decompression once it has given
// kFreeBytes: text that people write shrinks by 3 to 20, a decompression bomb by 1000.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "thimble/base/result.h"

namespace thimble {

class ByteSource {
 public:
  static constexpr size_t kFreeBytes = size_t{64} << 20;
  static constexpr size_t kMaxGrowth = 200;

  // Errors name the file.
  static Result<ByteSource> Open(const std::string& path);
  // The bytes must stay.
  static ByteSource FromBytes(std::string_view bytes, std::string name);
  ByteSource(ByteSource&&) noexcept;
  ByteSource& operator=(ByteSource&&) noexcept;
  ~ByteSource();

  // Appends some bytes to `out`; false at the end, which gzip data must have reached in order. Errors do not
  // name the file: a reader can add the line.
  Result<bool> Read(std::string& out);

  const std::string& name() const;
  double bytes_read() const;   // of the file as it is stored
  double bytes_total() const;  // 0: unknown

 private:
  class Impl;
  explicit ByteSource(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace thimble
