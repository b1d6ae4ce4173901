// From a pickle with persistent storages to tensors: what the two container formats share.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "thimble/base/result.h"
#include "thimble/formats/tensors/stored_tensor.h"
#include "thimble/formats/torch/pickle.h"

namespace thimble {

// The globals that a state dictionary is made of.
bool IsStateDictGlobal(std::string_view global);

// What a persistent id of torch.save says.
struct StorageName {
  StoredType type = StoredType::kF32;
  std::string_view key = {};
  uint64_t elements = 0;
  // Part of the storage `key`, in elements (files before PyTorch 0.4); view_elements = 0: all of it.
  uint64_t view_offset = 0, view_elements = 0;
};

Result<StorageName> ParseStorageName(const Pickle& pickle, PickleId persistent);

// Gives the bytes of a storage, exactly elements * size of the type.
using FindStorage = std::function<Result<std::span<const std::byte>>(const StorageName&)>;

// The tensors of the mapping at the root of `pickle`, every one checked against its storage. Views whose
// copies would together outgrow the file many times over are refused.
Result<StoredTensors> ReadStateDict(const Pickle& pickle, const FindStorage& find_storage,
                                    size_t file_bytes, const std::shared_ptr<const void>& owner);

}  // namespace thimble
