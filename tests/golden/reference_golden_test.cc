// Graphs built from the goldens' checkpoints, run by the plain references, against the original.
#include <gtest/gtest.h>

#include "tests/support/golden_runner.h"
#include "tests/support/shared.h"

namespace thimble {
namespace {

TEST(ReferenceGoldens, AreThere) {
  if (!HuggingFaceGoldens().has_value()) {
    GTEST_SKIP() << "no goldens: set THIMBLE_SHARED to the folder that holds goldens/hf";
  }
  EXPECT_FALSE(GoldenFolders("expected.safetensors", TextModels()).empty());
}

class ReferenceGolden : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(ReferenceGolden, AgreesWithTheOriginal) {
  CheckGolden(LoadGoldenCase(GetParam()), [](const Graph& graph) -> Result<ReferenceExecutor> {
    return ReferenceExecutor{graph};
  });
}

INSTANTIATE_TEST_SUITE_P(Cases, ReferenceGolden, testing::ValuesIn(StoredTextCases()), GoldenName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ReferenceGolden);

}  // namespace
}  // namespace thimble
