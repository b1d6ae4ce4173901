// The pickle alone: in an archive its checksum would stop most changes.
#include <array>
#include <cstddef>
#include <cstdint>

#include "thimble/formats/torch/pickle.h"
#include "thimble/formats/torch/state_dict.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace thimble;
  const Result<Pickle> pickle = ReadPickle(std::as_bytes(std::span(data, size)), IsStateDictGlobal);
  if (!pickle) return 0;
  alignas(16) static constexpr std::array<std::byte, 256> kStorage{};
  const FindStorage find = [](const StorageName& storage) -> Result<std::span<const std::byte>> {
    const size_t width = StoredTypeBytes(storage.type);
    if (storage.elements > kStorage.size() / width) return InvalidData("too large");
    return std::span<const std::byte>(kStorage).first(storage.elements * width);
  };
  const Result<StoredTensors> tensors = ReadStateDict(*pickle, find, size, nullptr);
  if (!tensors) return 0;
  for (const auto& [name, stored] : *tensors) {
    if (const Result<Tensor> tensor = Load(stored)) (void)tensor->ToFloats();
  }
  return 0;
}
