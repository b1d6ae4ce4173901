// Full-size models through the engine: every head of every recipe, in float32.
#include <gtest/gtest.h>

#include "tests/support/golden_runner.h"
#include "tests/support/session_executor.h"
#include "tests/support/shared.h"

namespace thimble {
namespace {

class FullSize : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(FullSize, AgreesWithTheOriginal) {
  const std::vector<std::string> heads = RecipeModelClasses(GetParam());
  ASSERT_FALSE(heads.empty());
  for (const std::string& head : heads) {
    SCOPED_TRACE(head);
    CheckGolden(LoadRecipeCase(GetParam(), head),
                [](const Graph& graph) -> Result<SessionExecutor> {
                  TRY(Graph read, ThroughFile(graph, ""));
                  return SessionExecutor{std::move(read)};
                });
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, FullSize,
                         testing::ValuesIn(GoldenFolders("recipe.json", TextModels())), GoldenName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FullSize);

}  // namespace
}  // namespace thimble
