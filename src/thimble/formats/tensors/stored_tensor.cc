#include "thimble/formats/tensors/stored_tensor.h"

#include <cstring>
#include <utility>

namespace thimble {
namespace {

enum class LoadKind : uint8_t { kNone, kView, kRoundToF32 };

struct StoredTypeRow {
  std::string_view name;
  size_t bytes;
  std::string_view torch_storage;
  LoadKind load;
  DType dtype;
};

#define VIEW(dtype) LoadKind::kView, DType::dtype
#define ROUND_TO_F32 LoadKind::kRoundToF32, DType::kF32
#define NONE LoadKind::kNone, DType::kF32
#define STORED_TYPE(enumerator, name, bytes, torch_storage, load) \
  {name, bytes, torch_storage, load},
constexpr StoredTypeRow kRows[] = {
#include "thimble/formats/tensors/stored_types.inc"
};
#undef STORED_TYPE
#undef NONE
#undef ROUND_TO_F32
#undef VIEW

const StoredTypeRow& Row(StoredType type) { return kRows[static_cast<size_t>(type)]; }

bool IsRowMajor(const StoredTensor& tensor) {
  if (tensor.strides.empty() || *ElementCount(tensor.shape) == 0) return true;
  int64_t expected = 1;
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    // The stride of a dimension of size 1 is never used.
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

// Executors read elements in place.
bool IsAligned(const StoredTensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.data.data()) % StoredTypeBytes(tensor.type) == 0;
}

// The elements in row-major order without gaps.
std::vector<std::byte> Gather(const StoredTensor& tensor, size_t count) {
  const size_t width = StoredTypeBytes(tensor.type);
  std::vector<std::byte> out(count * width);
  const size_t rank = tensor.shape.size();
  std::vector<int64_t> index(rank, 0);
  size_t offset = 0;  // of element `index`, in elements
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(out.data() + i * width, tensor.data.data() + offset * width, width);
    for (size_t d = rank; d-- > 0;) {
      offset += static_cast<size_t>(tensor.strides[d]);
      if (++index[d] < tensor.shape[d]) break;
      offset -= static_cast<size_t>(tensor.strides[d] * index[d]);
      index[d] = 0;
    }
  }
  return out;
}

Tensor RoundToF32(const Shape& shape, std::span<const std::byte> doubles, size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    double value;
    std::memcpy(&value, doubles.data() + i * sizeof(double), sizeof(double));
    values[i] = static_cast<float>(value);
  }
  return Tensor::FromFloats(shape, values);
}

}  // namespace

std::string_view StoredTypeName(StoredType type) { return Row(type).name; }
size_t StoredTypeBytes(StoredType type) { return Row(type).bytes; }

std::optional<StoredType> StoredTypeFromName(std::string_view name) {
  for (size_t i = 0; i < std::size(kRows); ++i) {
    if (kRows[i].name == name) return static_cast<StoredType>(i);
  }
  return std::nullopt;
}

std::optional<StoredType> StoredTypeFromTorchStorage(std::string_view name) {
  if (name.empty()) return std::nullopt;
  for (size_t i = 0; i < std::size(kRows); ++i) {
    if (kRows[i].torch_storage == name) return static_cast<StoredType>(i);
  }
  return std::nullopt;
}

size_t BytesToLoad(const StoredTensor& tensor) {
  const size_t bytes = *ElementCount(tensor.shape) * StoredTypeBytes(tensor.type);
  const bool converted = Row(tensor.type).load == LoadKind::kRoundToF32;
  return IsRowMajor(tensor) && IsAligned(tensor) && !converted ? 0 : bytes;
}

Result<Tensor> Load(const StoredTensor& tensor) {
  const StoredTypeRow& row = Row(tensor.type);
  if (row.load == LoadKind::kNone) {
    return Unsupported("elements of type " + std::string(row.name) + " are not read");
  }
  const size_t count = *ElementCount(tensor.shape);
  const bool in_place = IsRowMajor(tensor);
  std::vector<std::byte> gathered;
  if (!in_place) gathered = Gather(tensor, count);
  const std::span<const std::byte> data =
      in_place ? tensor.data.first(count * row.bytes) : std::span<const std::byte>(gathered);
  if (row.load == LoadKind::kRoundToF32) return RoundToF32(tensor.shape, data, count);
  if (!in_place || !IsAligned(tensor)) return Tensor::Copy(row.dtype, tensor.shape, data);
  return Tensor::View(row.dtype, tensor.shape, data, tensor.owner);
}

}  // namespace thimble
