// Full-size models of the goldens whose weights come from a formula instead of a file: element i of
// the tensor NAME is float32(a + 2^log2_s * (fmix32(fnv1a32(NAME) + i * 0x9E3779B9) / 2^32 - 1/2)).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "thimble/models/architecture.h"

namespace thimble {

class RecipeWeights : public WeightSource {
 public:
  struct Recipe {
    Shape shape;
    double a = 0;
    int log2_s = 0;
    uint32_t crc32 = 0;   // of the little-endian bytes of the whole tensor, as zlib computes it
    std::string tied_to;  // another tensor that this one is; the rest is then empty
  };

  // Reads a recipe.json. Integer buffers are left out.
  static Result<RecipeWeights> Read(const std::filesystem::path& path);

  // Makes the tensor and keeps it, so that tied weights share their storage. Not thread-safe.
  Result<Tensor> Get(std::string_view name, const Shape& shape) override;
  bool Has(std::string_view name) const override { return recipes_.contains(name); }

  const std::map<std::string, Recipe, std::less<>>& recipes() const { return recipes_; }
  // The tensor alone, made anew.
  static Tensor Make(std::string_view name, const Recipe& recipe);

 private:
  std::map<std::string, Recipe, std::less<>> recipes_;
  std::map<std::string, Tensor, std::less<>> made_;
};

}  // namespace thimble
