#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "thimble/base/file.h"
#include "thimble/base/quote.h"
#include "thimble/formats/safetensors/safetensors.h"

namespace thimble {
namespace {

std::string_view StoredName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return StoredTypeName(StoredType::kF32);
    case DType::kF16:
      return StoredTypeName(StoredType::kF16);
    case DType::kBF16:
      return StoredTypeName(StoredType::kBF16);
    case DType::kI8:
      return StoredTypeName(StoredType::kI8);
    case DType::kI8Group:
    case DType::kI4Group:
      break;  // other programs have no such type: dequantized before
    case DType::kU8:
      return StoredTypeName(StoredType::kU8);
    case DType::kI32:
      return StoredTypeName(StoredType::kI32);
    case DType::kI64:
      return StoredTypeName(StoredType::kI64);
  }
  return {};
}

std::vector<const NamedTensor*> InFileOrder(std::span<const NamedTensor> tensors) {
  std::vector<const NamedTensor*> order;
  order.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, [](const NamedTensor* a, const NamedTensor* b) {
    const size_t width_a = DTypeBytes(a->tensor.dtype()), width_b = DTypeBytes(b->tensor.dtype());
    return width_a != width_b ? width_a > width_b : a->name < b->name;
  });
  return order;
}

Status CheckNames(std::span<const NamedTensor> tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) names.push_back(tensor.name);
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
    return InvalidArgument("safetensors: two tensors named " + Quoted(*twice));
  }
  if (std::ranges::binary_search(names, "__metadata__")) {
    return InvalidArgument("safetensors: \"__metadata__\" cannot be the name of a tensor");
  }
  return {};
}

}  // namespace

Status WriteSafetensors(const std::string& path, std::span<const NamedTensor> tensors,
                        const std::map<std::string, std::string>& metadata) {
  TRY_VOID(CheckNames(tensors));
  const std::vector<const NamedTensor*> order = InFileOrder(tensors);
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const NamedTensor* named : order) {
    const Tensor& tensor = named->tensor;
    THIMBLE_CHECK(tensor.layout() == Layout::kRowMajor && tensor.scales().empty());
    const size_t end = offset + tensor.data().size();
    header[named->name] = {{"dtype", StoredName(tensor.dtype())},
                           {"shape", tensor.shape()},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  // Names that are not UTF-8 cannot stand in JSON; replacing the bad bytes never throws.
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length(sizeof(uint64_t), '\0');
  for (size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<char>(text.size() >> (8 * i) & 0xFF);
  }
  TRY(AtomicFile file, AtomicFile::Create(path));
  TRY_VOID(file.Append(length + text));
  for (const NamedTensor* named : order) TRY_VOID(file.Append(named->tensor.data()));
  return file.Commit();
}

}  // namespace thimble
