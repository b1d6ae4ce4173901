#include "tests/support/recipe.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/support/shared.h"

namespace thimble {
namespace {

uint32_t Fnv1a(std::string_view text) {
  uint32_t h = 2166136261u;
  for (const char c : text) h = (h ^ static_cast<uint8_t>(c)) * 16777619u;
  return h;
}

uint32_t Mix(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x = (x ^ (x >> 13)) * 0xC2B2AE35u;
  return x ^ (x >> 16);
}

// Fails unless every dimension of `wanted` that is not -1 is that of `shape`.
Status CheckShape(std::string_view name, const Shape& shape, const Shape& wanted) {
  bool fits = shape.size() == wanted.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    fits = wanted[i] == -1 || wanted[i] == shape[i];
  }
  if (fits) return {};
  return InvalidData(std::string(name) + " is " + ShapeText(shape) + ", wanted " +
                     ShapeText(wanted));
}

}  // namespace

Result<RecipeWeights> RecipeWeights::Read(const std::filesystem::path& path) {
  TRY(const nlohmann::json json, ReadJson(path));
  RecipeWeights weights;
  for (const auto& [name, entry] : json.at("tensors").items()) {
    Recipe recipe;
    recipe.shape = entry.at("shape").get<Shape>();
    if (entry.contains("tied_to")) {
      recipe.tied_to = entry["tied_to"].get<std::string>();
    } else if (entry.contains("log2_s")) {
      recipe.a = entry.at("a").get<double>();
      recipe.log2_s = entry["log2_s"].get<int>();
      recipe.crc32 = entry.at("crc32").get<uint32_t>();
      if (entry.at("fnv1a32") != Fnv1a(name)) return InvalidData(name + ": another hash");
    } else {
      continue;
    }
    weights.recipes_.emplace(name, std::move(recipe));
  }
  return weights;
}

Tensor RecipeWeights::Make(std::string_view name, const Recipe& recipe) {
  std::vector<float> values(*ElementCount(recipe.shape));
  const double scale = std::ldexp(1.0, recipe.log2_s);
  uint32_t x = Fnv1a(name);
  for (float& value : values) {
    value = static_cast<float>(recipe.a + scale * (Mix(x) * 0x1p-32 - 0.5));
    x += 0x9E3779B9u;
  }
  return Tensor::FromFloats(recipe.shape, values);
}

Result<Tensor> RecipeWeights::Get(std::string_view name, const Shape& shape) {
  const auto found = recipes_.find(name);
  if (found == recipes_.end()) return NotFound("the recipe has no " + std::string(name));
  const Recipe& recipe = found->second;
  TRY_VOID(CheckShape(name, recipe.shape, shape));
  if (!recipe.tied_to.empty()) return Get(recipe.tied_to, recipe.shape);
  const auto made = made_.find(name);
  if (made != made_.end()) return made->second;
  return made_.emplace(name, Make(name, recipe)).first->second;
}

}  // namespace thimble
