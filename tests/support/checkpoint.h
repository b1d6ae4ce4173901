// The weights of a golden's safetensors files, whole or in shards, under the names that
// architectures ask for: a backbone stored alone lacks the prefix of its model.
#pragma once

#include <filesystem>

#include "thimble/formats/safetensors/safetensors.h"
#include "thimble/models/architecture.h"

namespace thimble {

class CheckpointWeights : public WeightSource {
 public:
  static Result<CheckpointWeights> Open(const std::filesystem::path& folder);

  Result<Tensor> Get(std::string_view name, const Shape& shape) override;
  bool Has(std::string_view name) const override { return Find(name) != nullptr; }

 private:
  const StoredTensor* Find(std::string_view name) const;

  StoredTensors tensors_;
};

}  // namespace thimble
