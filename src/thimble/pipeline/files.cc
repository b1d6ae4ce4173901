#include "thimble/pipeline/files.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "thimble/base/file.h"
#include "thimble/base/sha256.h"

namespace thimble::pipeline {
namespace {

namespace fs = std::filesystem;

// A file itself; what is below a folder, by name.
Result<std::vector<fs::path>> Files(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return std::vector<fs::path>{path};
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_regular_file(error)) files.push_back(it->path());
  }
  if (error) return IoError(path + ": " + error.message());
  std::sort(files.begin(), files.end());
  return files;
}

void Add(Sha256& hash, std::string_view text) { hash.Update(std::as_bytes(std::span(text))); }

Result<std::string> FileHash(const std::string& path) {
  std::error_code error;
  Sha256 hash;
  if (fs::file_size(path, error) != 0 || error) {  // nothing cannot be mapped
    TRY(const MappedFile file, MappedFile::Open(path));
    hash.Update(file.bytes());
  }
  return std::move(hash).HexDigest();
}

}  // namespace

Result<std::string> ContentHash(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return FileHash(path);
  TRY(const std::vector<fs::path> files, Files(path));
  Sha256 hash;
  for (const fs::path& file : files) {
    TRY(const std::string digest, FileHash(file.string()));
    Add(hash, file.lexically_relative(path).generic_string() + '\0' + digest + '\n');
  }
  return std::move(hash).HexDigest();
}

Result<double> ContentBytes(const std::string& path) {
  TRY(const std::vector<fs::path> files, Files(path));
  double bytes = 0;
  for (const fs::path& file : files) {
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (error) return IoError(file.string() + ": " + error.message());
    bytes += static_cast<double>(size);
  }
  return bytes;
}

Status WriteText(const std::string& path, std::string_view text) {
  TRY(AtomicFile file, AtomicFile::Create(path));
  TRY_VOID(file.Append(text));
  return file.Commit();
}

Status MakeFolder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return IoError(path + ": " + error.message());
  return {};
}

}  // namespace thimble::pipeline
