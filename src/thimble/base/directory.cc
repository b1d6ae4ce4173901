#include "thimble/base/directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace thimble {
namespace {

namespace fs = std::filesystem;

Error DirectoryError(const std::string& path) {
  return IoError(path + ": cannot write: " + std::strerror(errno));
}

// Nothing if `path` may be replaced.
Status CheckReplaceable(const std::string& path, std::span<const std::string_view> replaceable) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::not_found) return {};
  if (status.type() != fs::file_type::directory)
    return InvalidArgument(path + ": is there already, and no directory");
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool ours = std::find(replaceable.begin(), replaceable.end(), name) != replaceable.end();
    if (!ours || !fs::is_regular_file(entry->symlink_status())) {
      return InvalidArgument(path + ": is there already and holds '" + name.substr(0, 80) +
                             "', which was not written by this; name another directory");
    }
  }
  if (error) return IoError(path + ": cannot list: " + error.message());
  return {};
}

}  // namespace

Result<AtomicDirectory> AtomicDirectory::Create(const std::string& path,
                                                std::span<const std::string_view> replaceable) {
  std::string name = path;
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  TRY_VOID(CheckReplaceable(name, replaceable));
  std::string temporary = name + ".XXXXXX";
  if (::mkdtemp(temporary.data()) == nullptr) return DirectoryError(path);
  // mkdtemp makes the directory private; a result is an ordinary one.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::chmod(temporary.c_str(), 0777 & ~mask);
  return AtomicDirectory(std::move(name), std::move(temporary));
}

AtomicDirectory::AtomicDirectory(std::string path, std::string temporary)
    : path_(std::move(path)), temporary_(std::move(temporary)) {}

AtomicDirectory::AtomicDirectory(AtomicDirectory&& other) noexcept
    : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, {})) {}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

Status AtomicDirectory::Commit() {
  if (::rename(temporary_.c_str(), path_.c_str()) ==
      0) {  // takes the place of an empty directory too
    temporary_.clear();
    return {};
  }
  if (errno != ENOTEMPTY && errno != EEXIST) return DirectoryError(path_);
  const std::string old = temporary_ + ".old";
  if (::rename(path_.c_str(), old.c_str()) != 0) return DirectoryError(path_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    Error error = DirectoryError(path_);
    ::rename(old.c_str(), path_.c_str());
    return error;
  }
  temporary_ = old;  // which the destructor removes
  return {};
}

}  // namespace thimble
