// What storing weights in fewer bits costs: the goldens after a pass, run by the plain references,
// which compute in full precision from the rounded weights.
#include <gtest/gtest.h>

#include "tests/support/golden_runner.h"
#include "tests/support/shared.h"
#include "thimble/passes/passes.h"

namespace thimble {
namespace {

class PassesGolden : public testing::TestWithParam<std::filesystem::path> {
 protected:
  void Check(std::string_view pass, double tolerance) {
    const Result<GoldenCase> golden = LoadGoldenCase(GetParam());
    ASSERT_TRUE(golden.has_value()) << golden.error().message();
    const Result<Graph> graph = RunPass(*FindPass(pass), golden->graph);
    ASSERT_TRUE(graph.has_value()) << graph.error().message();
    CheckRun(golden->runs.at(0), ReferenceExecutor{*graph}, tolerance);
  }
};

TEST_P(PassesGolden, Float16StaysWithinOnePercent) { Check("weights_to_f16", 1e-2); }

// Half a step of 1/127 of each row's largest weight, through two to four layers of random weights.
TEST_P(PassesGolden, Int8StaysClose) { Check("weights_to_int8", 6e-2); }

std::vector<std::filesystem::path> StoredCases() {
  std::vector<std::filesystem::path> folders = GoldenFolders("expected.safetensors", TextModels());
  std::erase_if(folders, [](const auto& f) { return std::filesystem::exists(f / "recipe.json"); });
  return folders;
}

INSTANTIATE_TEST_SUITE_P(Cases, PassesGolden, testing::ValuesIn(StoredCases()), GoldenName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PassesGolden);

}  // namespace
}  // namespace thimble
