// The weights of a Hugging Face directory, under the names that architectures ask for.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/tensors/stored_tensor.h"
#include "thimble/models/architecture.h"

namespace thimble {

// Architectures use the full names of a model with a head ("bert.encoder.layer.0..."). A checkpoint may
// lack the first part, as that of a model without a head does, and may call the parameters of its norms
// gamma and beta, as the first conversions from TensorFlow did. Not thread-safe.
class Checkpoint final : public WeightSource {
 public:
  // Reads model.safetensors or pytorch_model.bin, whole or in shards with an index; safetensors wins.
  static Result<Checkpoint> Open(const std::string& directory);
  explicit Checkpoint(StoredTensors tensors);

  // Floating-point tensors only: nothing else is a weight.
  Result<Tensor> Get(std::string_view name, const Shape& shape) override;
  bool Has(std::string_view name) const override;

  const StoredTensors& tensors() const { return tensors_; }
  // Names as the checkpoint has them, of tensors that nobody asked for.
  std::vector<std::string> UnusedNames() const;
  // Of the weight files, one after the other in the order of their names. Empty if there are none.
  Result<std::string> FileSha256() const;

 private:
  StoredTensors::const_iterator Resolve(std::string_view name) const;

  StoredTensors tensors_;
  std::set<std::string, std::less<>> first_parts_;     // of all names
  std::map<std::string, Tensor, std::less<>> loaded_;  // by the checkpoint's name
  std::vector<std::string> files_;                     // paths
};

}  // namespace thimble
