// A directory that appears whole or not at all.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "thimble/base/result.h"

namespace thimble {

// Files are written to a directory beside `path`, which takes its place when Commit() succeeds. Without Commit() nothing
// is left behind. Not thread-safe.
class AtomicDirectory {
 public:
  // kInvalidArgument where `path` is something that must not be replaced: anything but an empty directory, or one that
  // holds no files but those called as in `replaceable`.
  static Result<AtomicDirectory> Create(const std::string& path,
                                        std::span<const std::string_view> replaceable);
  AtomicDirectory(AtomicDirectory&& other) noexcept;
  AtomicDirectory& operator=(AtomicDirectory&& other) = delete;
  ~AtomicDirectory();

  // Where to write.
  const std::string& temporary() const { return temporary_; }
  Status Commit();

 private:
  AtomicDirectory(std::string path, std::string temporary);

  std::string path_, temporary_;  // temporary_ is empty when there is nothing to remove
};

}  // namespace thimble
