// A zip archive of uncompressed files, as it is appended to a model.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace thimble {

struct ZipEntry {
  std::string name, content;
};

// The archive, for a place `offset` bytes into a file: offsets count from the file's beginning. Names are
// short and all together is less than 4 GB.
std::string ZipArchive(const std::vector<ZipEntry>& entries, size_t offset);

}  // namespace thimble
