// Files for tests of readers: a folder that goes away, and gzip.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace thimble {

class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  // Writes a file and returns its path; folders in the name are made.
  std::string Write(const std::string& name, std::string_view bytes) const;
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

 private:
  std::filesystem::path folder_;
};

std::string Gzip(std::string_view text);

}  // namespace thimble
