// The engine on every golden: each type of weights, each instruction set of this machine.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/golden_runner.h"
#include "tests/support/session_executor.h"
#include "tests/support/shared.h"

namespace thimble {
namespace {

Result<SessionExecutor> Execute(const Graph& graph, std::string_view pass, const Kernels* kernels) {
  TRY(Graph read, ThroughFile(graph, pass));
  return SessionExecutor{std::move(read), kernels};
}

// Root mean square of the difference, as a share of that of the expected values.
double RelativeError(const std::vector<float>& got, const std::vector<float>& want) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += std::pow(static_cast<double>(got[i]) - want[i], 2);
    size += std::pow(static_cast<double>(want[i]), 2);
  }
  return std::sqrt(difference / size);
}

// Rounding to steps of max / 127, where a row's largest value is about three times its root mean
// square, is off by 3 / 127 / sqrt(12) = 0.7 % of that; a product has two such operands, 1 %, and
// the products on the way to an output add up as independent errors do.
double Int8Bound(const Graph& graph) {
  const auto products = std::count_if(graph.nodes.begin(), graph.nodes.end(),
                                      [](const Node& n) { return n.op == OpKind::kLinear; });
  return 0.01 * std::sqrt(static_cast<double>(products));
}

class SessionGolden : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(SessionGolden, AgreesWithTheOriginalInFloat32) {
  const Result<GoldenCase> golden = LoadGoldenCase(GetParam());
  for (const Kernels* kernels : AvailableKernels()) {
    SCOPED_TRACE(std::string(kernels->name));
    CheckGolden(golden, [&](const Graph& graph) { return Execute(graph, "", kernels); });
  }
}

// The references read the same halves, so only rounding is left between the two.
TEST_P(SessionGolden, AgreesWithTheReferenceInFloat16) {
  const Result<GoldenCase> golden = LoadGoldenCase(GetParam());
  ASSERT_TRUE(golden.has_value()) << golden.error().message();
  const Result<SessionExecutor> executor = Execute(golden->graph, "weights_to_f16", nullptr);
  ASSERT_TRUE(executor.has_value()) << executor.error().message();
  for (GoldenRun run : golden->runs) {
    std::vector<std::string_view> names;
    for (const ExpectedOutput& output : run.outputs) names.push_back(output.graph_output);
    const auto reference = ReferenceExecutor{executor->graph}(run.inputs, names);
    ASSERT_TRUE(reference.has_value()) << reference.error().message();
    for (size_t i = 0; i < run.outputs.size(); ++i) {
      run.outputs[i].values = Known((*reference)[i], run.outputs[i]);
    }
    CheckRun(run, *executor, golden->tolerance);
  }
}

TEST_P(SessionGolden, StaysNearTheOriginalInInt8) {
  const Result<GoldenCase> golden = LoadGoldenCase(GetParam());
  ASSERT_TRUE(golden.has_value()) << golden.error().message();
  const Result<SessionExecutor> executor = Execute(golden->graph, "weights_to_int8", nullptr);
  ASSERT_TRUE(executor.has_value()) << executor.error().message();
  for (const GoldenRun& run : golden->runs) {
    const auto values = (*executor)(run.inputs, {"last_hidden_state"});
    ASSERT_TRUE(values.has_value()) << values.error().message();
    for (const ExpectedOutput& output : run.outputs) {
      if (output.name != "last_hidden_state") continue;
      const double error = RelativeError(Known((*values)[0], output), output.values);
      EXPECT_LE(error, Int8Bound(executor->graph)) << run.name;
    }
  }
}

// Whatever the vector width: one answer, to the bit, wherever multiply-add is fused.
TEST_P(SessionGolden, GivesTheSameBitsOnEveryInstructionSet) {
  const Result<GoldenCase> golden = LoadGoldenCase(GetParam());
  ASSERT_TRUE(golden.has_value()) << golden.error().message();
  for (const std::string_view pass : {"", "weights_to_int8"}) {
    const GoldenRun& run = golden->runs.front();
    std::vector<float> first;
    for (const Kernels* kernels : AvailableKernels()) {
      if (!kernels->fused) continue;
      const Result<SessionExecutor> executor = Execute(golden->graph, pass, kernels);
      ASSERT_TRUE(executor.has_value()) << executor.error().message();
      const auto values = (*executor)(run.inputs, {"last_hidden_state"});
      ASSERT_TRUE(values.has_value()) << values.error().message();
      if (first.empty()) first = (*values)[0].floats;
      EXPECT_EQ((*values)[0].floats, first) << kernels->name << " " << pass;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, SessionGolden, testing::ValuesIn(StoredTextCases()), GoldenName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SessionGolden);

}  // namespace
}  // namespace thimble
