#include "tests/support/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/support/golden_runner.h"
#include "tests/support/shared.h"

namespace thimble {
namespace {

// CRC-32 of zlib and PNG, eight bytes of table lookups at a time.
uint32_t Crc32(std::span<const std::byte> bytes) {
  static const auto tables = [] {
    std::array<std::array<uint32_t, 256>, 8> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = (c >> 1) ^ ((c & 1) != 0 ? 0xEDB88320u : 0u);
      t[0][i] = c;
    }
    for (size_t j = 1; j < 8; ++j) {
      for (size_t i = 0; i < 256; ++i) t[j][i] = (t[j - 1][i] >> 8) ^ t[0][t[j - 1][i] & 0xFF];
    }
    return t;
  }();
  uint32_t crc = ~0u;
  size_t i = 0;
  const auto* p = reinterpret_cast<const uint8_t*>(bytes.data());
  for (; i + 8 <= bytes.size(); i += 8) {
    uint32_t next = 0;
    for (size_t j = 0; j < 8; ++j) {
      const uint32_t byte = p[i + j] ^ (j < 4 ? (crc >> (8 * j)) & 0xFF : 0);
      next ^= tables[7 - j][byte];
    }
    crc = next;
  }
  for (; i < bytes.size(); ++i) crc = (crc >> 8) ^ tables[0][(crc ^ p[i]) & 0xFF];
  return ~crc;
}

TEST(Crc32, AgreesWithItsCheckValue) {
  constexpr std::string_view kCheck = "123456789";
  EXPECT_EQ(Crc32(std::as_bytes(std::span(kCheck))), 0xCBF43926u);
}

class Recipe : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(Recipe, MakesEveryTensorToTheBit) {
  const Result<RecipeWeights> weights = RecipeWeights::Read(GetParam() / "recipe.json");
  ASSERT_TRUE(weights.has_value()) << weights.error().message();
  ASSERT_FALSE(weights->recipes().empty());
  for (const auto& [name, recipe] : weights->recipes()) {
    if (!recipe.tied_to.empty()) continue;
    EXPECT_EQ(Crc32(RecipeWeights::Make(name, recipe).data()), recipe.crc32) << name;
  }
}

TEST_P(Recipe, SharesWhatIsTiedAndChecksShapes) {
  Result<RecipeWeights> weights = RecipeWeights::Read(GetParam() / "recipe.json");
  ASSERT_TRUE(weights.has_value()) << weights.error().message();
  for (const auto& [name, recipe] : weights->recipes()) {
    if (recipe.tied_to.empty()) continue;
    EXPECT_TRUE(
        weights->Get(name, recipe.shape)->SameAs(*weights->Get(recipe.tied_to, recipe.shape)));
  }
  const auto& [name, recipe] = *weights->recipes().begin();
  Shape wanted = recipe.shape;
  wanted[0] += 1;
  EXPECT_FALSE(weights->Get(name, wanted).has_value());
  wanted[0] = -1;
  EXPECT_TRUE(weights->Get(name, wanted).has_value());
  EXPECT_FALSE(weights->Has("nothing.weight"));
}

INSTANTIATE_TEST_SUITE_P(Cases, Recipe,
                         testing::ValuesIn(GoldenFolders("recipe.json", TextModels())), GoldenName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Recipe);

}  // namespace
}  // namespace thimble
