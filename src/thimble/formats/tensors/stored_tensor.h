// Tensors as checkpoint files hold them: what the readers of safetensors and PyTorch files produce.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/tensor.h"

namespace thimble {

enum class StoredType : uint8_t {
#define STORED_TYPE(enumerator, name, bytes, torch_storage, load) enumerator,
#include "thimble/formats/tensors/stored_types.inc"
#undef STORED_TYPE
};

std::string_view StoredTypeName(StoredType type);
size_t StoredTypeBytes(StoredType type);
std::optional<StoredType> StoredTypeFromName(std::string_view name);          // "F32"
std::optional<StoredType> StoredTypeFromTorchStorage(std::string_view name);  // "FloatStorage"

// Shapes of checkpoints come from files; a rank beyond this is not a tensor of a model.
inline constexpr size_t kMaxStoredRank = 32;

// A validated description: element (i, j, ...) lies `strides` * (i, j, ...) elements after data[0], and
// inside `data`. Reading none of the elements costs nothing.
struct StoredTensor {
  StoredType type = StoredType::kF32;
  Shape shape;
  std::vector<int64_t> strides;  // in elements, not negative; empty: row-major without gaps
  std::span<const std::byte> data;
  std::shared_ptr<const void> owner;  // keeps `data` alive
};

// By name. A file of n bytes gives at most O(n) bytes of descriptions.
using StoredTensors = std::map<std::string, StoredTensor, std::less<>>;

// Bytes that Load() would allocate: 0 for what it can give as a view.
size_t BytesToLoad(const StoredTensor& tensor);

// The tensor itself, aligned to its elements: a view where type, strides and alignment allow it, else a
// copy. Booleans become u8 and double precision is rounded to float32; types that no model here computes
// with are kUnsupported.
Result<Tensor> Load(const StoredTensor& tensor);

}  // namespace thimble
