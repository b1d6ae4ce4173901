#include "thimble/base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>

namespace thimble {
namespace {

Error SystemError(const std::string& path, const char* action) {
  const int error = errno;
  const std::string text = path + ": cannot " + action + ": " + std::strerror(error);
  return error == ENOENT ? NotFound(text) : IoError(text);
}

// A file descriptor open for reading on a regular file, and its size.
struct OpenFile {
  int fd;
  size_t size;
};

Result<OpenFile> OpenForReading(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return SystemError(path, "open");
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    Error error = SystemError(path, "read");
    ::close(fd);
    return error;
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return IoError(path + ": is not a regular file");
  }
  if (!std::in_range<size_t>(info.st_size)) {
    ::close(fd);
    return ResourceExhausted(path + ": has " + std::to_string(info.st_size) +
                             " bytes, more than this processor addresses");
  }
  return OpenFile{fd, static_cast<size_t>(info.st_size)};
}

// What Git leaves in place of a large file that was not fetched; reading it as anything else only puzzles people.
Status RefuseLfsPointer(const std::string& path, std::string_view bytes) {
  if (!bytes.starts_with("version https://git-lfs.github.com/spec/")) return {};
  return InvalidData(path +
                     ": is a pointer that Git LFS left in place of the file; `git lfs pull` "
                     "in its repository gets the file");
}

}  // namespace

Result<MappedFile> MappedFile::Open(const std::string& path) {
  TRY(const OpenFile file, OpenForReading(path));
  MappedFile mapped;
  if (file.size > 0) {
    void* address = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (address == MAP_FAILED) {
      Error error = SystemError(path, "map");
      ::close(file.fd);
      return error;
    }
    mapped.mapping_ = std::shared_ptr<const void>(
        address, [size = file.size](const void* p) { ::munmap(const_cast<void*>(p), size); });
    mapped.bytes_ = {static_cast<const std::byte*>(address), file.size};
  }
  ::close(file.fd);
  TRY_VOID(
      RefuseLfsPointer(path, {reinterpret_cast<const char*>(mapped.bytes_.data()), file.size}));
  return mapped;
}

Result<std::string> ReadFile(const std::string& path, size_t limit_bytes) {
  TRY(const OpenFile file, OpenForReading(path));
  if (file.size > limit_bytes) {
    ::close(file.fd);
    return ResourceExhausted(path + ": has " + std::to_string(file.size) +
                             " bytes, more than the " + std::to_string(limit_bytes) +
                             " that are read of such a file");
  }
  std::string text(file.size, '\0');
  size_t done = 0;
  while (done < file.size) {
    const ssize_t n = ::read(file.fd, text.data() + done, file.size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      Error error = SystemError(path, "read");
      ::close(file.fd);
      return error;
    }
    if (n == 0) break;  // became shorter while we read
    done += static_cast<size_t>(n);
  }
  ::close(file.fd);
  text.resize(done);
  TRY_VOID(RefuseLfsPointer(path, text));
  return text;
}

bool FileExists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<FileLock> FileLock::Acquire(const std::string& path,
                                   const std::function<Status()>& waiting) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return SystemError(path, "write");
  FileLock lock(path, fd);
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    if (Status status = waiting(); !status.has_value()) {
      ::close(std::exchange(lock.fd_, -1));  // the file is another's
      return std::move(status).error();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return lock;
}

FileLock::FileLock(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

FileLock::FileLock(FileLock&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

FileLock::~FileLock() {
  if (fd_ < 0) return;
  ::unlink(path_.c_str());
  ::close(fd_);
}

Result<AtomicFile> AtomicFile::Create(const std::string& path) {
  std::string temporary = path + ".XXXXXX";
  const int fd = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return SystemError(path, "write");
  // mkostemp makes the file private; a result is an ordinary file.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(fd, 0666 & ~mask);
  return AtomicFile(path, std::move(temporary), fd);
}

AtomicFile::AtomicFile(std::string path, std::string temporary, int fd)
    : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Status AtomicFile::Append(std::span<const std::byte> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError(path_, "write");
    done += static_cast<size_t>(n);
  }
  size_ += bytes.size();
  return {};
}

Status AtomicFile::Append(std::string_view text) {
  return Append(std::as_bytes(std::span(text.data(), text.size())));
}

Status AtomicFile::Commit() {
  // Data first, then the name: after a power cut the name never points at missing bytes.
  if (::fsync(fd_) != 0) return SystemError(path_, "write");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return SystemError(path_, "write");
  ::close(std::exchange(fd_, -1));
  return {};
}

}  // namespace thimble
