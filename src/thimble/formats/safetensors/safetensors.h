// safetensors files: a JSON header that names tensors, then their bytes.
//
//   8 bytes  n, little-endian
//   n bytes  {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
//             "__metadata__": {"key": "text"}}
//   the rest the tensors, offsets counted from here
//
// The reader accepts what the reference implementation accepts: tensors cover the data exactly, without
// gaps, overlaps or bytes after the last one; the header has at most 100 MB. It is stricter where a name
// or a key occurs twice and where it does not know a key. Data need not be aligned.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/tensors/stored_tensor.h"

namespace thimble {

struct SafetensorsFile {
  StoredTensors tensors;
  std::map<std::string, std::string> metadata;
};

// Maps the file; the tensors keep the mapping alive. Errors name the path.
Result<SafetensorsFile> OpenSafetensors(const std::string& path);

// The same for bytes in memory that `owner` keeps alive.
Result<SafetensorsFile> ParseSafetensors(std::span<const std::byte> file,
                                         std::shared_ptr<const void> owner);

struct NamedTensor {
  std::string name;
  Tensor tensor;  // row-major, without scales
};

// Writes tensors sorted by element size and name, as the reference implementation does, so that every
// tensor is aligned to its elements. Fails on names that occur twice or that the format reserves.
Status WriteSafetensors(const std::string& path, std::span<const NamedTensor> tensors,
                        const std::map<std::string, std::string>& metadata = {});

}  // namespace thimble
