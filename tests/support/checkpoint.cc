#include "tests/support/checkpoint.h"

#include "tests/support/recipe.h"

namespace thimble {

Result<CheckpointWeights> CheckpointWeights::Open(const std::filesystem::path& folder) {
  CheckpointWeights weights;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string file = entry.path().filename().string();
    if (!file.starts_with("model") || !file.ends_with(".safetensors")) continue;
    TRY(SafetensorsFile shard, OpenSafetensors(entry.path().string()));
    weights.tensors_.merge(shard.tensors);
  }
  if (weights.tensors_.empty()) return NotFound(folder.string() + ": has no model*.safetensors");
  return weights;
}

const StoredTensor* CheckpointWeights::Find(std::string_view name) const {
  auto found = tensors_.find(name);
  if (found == tensors_.end()) found = tensors_.find(name.substr(name.find('.') + 1));
  return found == tensors_.end() ? nullptr : &found->second;
}

Result<Tensor> CheckpointWeights::Get(std::string_view name, const Shape& shape) {
  const StoredTensor* stored = Find(name);
  if (stored == nullptr) return NotFound("the checkpoint has no " + std::string(name));
  TRY_VOID(CheckShape(name, stored->shape, shape));
  return Load(*stored);
}

}  // namespace thimble
