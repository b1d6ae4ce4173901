// Weights for tests of architectures: every tensor is there, has the shape that is asked for, and
// is zero.
#pragma once

#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "thimble/models/architecture.h"

namespace thimble {

class ZeroWeights : public WeightSource {
 public:
  // Dimensions left open become 2. Memory is fresh from calloc: pages that nobody reads cost
  // nothing, so that models of any size can be counted.
  Result<Tensor> Get(std::string_view name, const Shape& shape) override {
    if (!Has(name)) return NotFound("there is no " + std::string(name));
    const auto made = tensors_.find(name);
    if (made != tensors_.end()) return made->second;
    Shape whole = shape;
    for (int64_t& dim : whole) dim = dim == -1 ? 2 : dim;
    const size_t bytes = *ElementCount(whole) * sizeof(float);
    const std::shared_ptr<const std::byte> memory(static_cast<std::byte*>(std::calloc(bytes, 1)),
                                                  [](std::byte* p) { std::free(p); });
    const Tensor tensor = Tensor::View(DType::kF32, whole, {memory.get(), bytes}, memory);
    return tensors_.emplace(name, tensor).first->second;
  }
  bool Has(std::string_view name) const override { return !missing_.contains(name); }

  void Remove(std::string name) { missing_.insert(std::move(name)); }
  const std::map<std::string, Tensor, std::less<>>& asked() const { return tensors_; }

 private:
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::set<std::string, std::less<>> missing_;
};

}  // namespace thimble
