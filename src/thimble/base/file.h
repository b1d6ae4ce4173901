// Files as bytes: mapped, read whole, or replaced atomically.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "thimble/base/result.h"

namespace thimble {

// A file mapped read-only into memory. Pages are read when they are touched. The bytes stay valid
// while any copy of the object lives; copies share one mapping and may be used from any thread.
// The file must not be truncated by others meanwhile (replacing it by rename is fine).
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);

  std::span<const std::byte> bytes() const { return bytes_; }
  // Keeps the mapping alive; for Tensors that point into it.
  std::shared_ptr<const void> owner() const { return mapping_; }

 private:
  std::shared_ptr<const void> mapping_;
  std::span<const std::byte> bytes_;
};

// The whole file as text. Refuses files larger than `limit_bytes`. This and MappedFile say so where Git LFS left a pointer in
// place of the file.
Result<std::string> ReadFile(const std::string& path, size_t limit_bytes = size_t{1} << 30);

bool FileExists(const std::string& path);

// Keeps other processes from doing the same work: while the object lives, Acquire of the same path waits. The
// file, which is empty, goes with the object. Where a file system has no locks nobody waits.
class FileLock {
 public:
  // `waiting` is called some times a second; an error it returns ends the wait.
  static Result<FileLock> Acquire(const std::string& path, const std::function<Status()>& waiting);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) = delete;
  ~FileLock();

 private:
  FileLock(std::string path, int fd);

  std::string path_;
  int fd_ = -1;
};

// Writes beside `path` and renames when Commit() succeeds, so that the file under `path` is always
// either the old one or the complete new one. Without Commit() nothing is left behind.
// Not thread-safe.
class AtomicFile {
 public:
  static Result<AtomicFile> Create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) = delete;
  ~AtomicFile();

  Status Append(std::span<const std::byte> bytes);
  Status Append(std::string_view text);
  size_t size() const { return size_; }
  Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd);

  std::string path_, temporary_;
  int fd_ = -1;
  size_t size_ = 0;
};

}  // namespace thimble
