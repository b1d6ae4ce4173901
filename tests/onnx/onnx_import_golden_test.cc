// Text goldens through ONNX: files that torch.onnx wrote, against what the original computed, and every golden
// through our exporter and back.
#include "tests/support/golden_runner.h"
#include "tests/support/shared.h"
#include "thimble/formats/onnx/export.h"
#include "thimble/formats/onnx/import.h"
#include "thimble/passes/passes.h"

namespace thimble {
namespace {

Result<Graph> ImportedGraph(const std::string& file) {
  const auto nothing = [](const std::string& path) -> Result<OnnxExternalFile> {
    return NotFound(path);
  };
  TRY(ImportedModel imported, ImportOnnx(std::as_bytes(std::span(file)), nullptr, nothing));
  return std::move(imported.model.graph);
}

// Outputs of both graphs on the runs of a golden.
void ExpectSameOutputs(const Graph& want, const Graph& got, const GoldenRun& run,
                       double tolerance) {
  std::vector<std::string_view> names;
  for (const GraphOutput& output : want.outputs) names.push_back(output.name);
  const auto left = ReferenceExecutor{want}(run.inputs, names);
  const auto right = ReferenceExecutor{got}(run.inputs, names);
  ASSERT_TRUE(left.has_value()) << left.error().message();
  ASSERT_TRUE(right.has_value()) << right.error().message();
  for (size_t i = 0; i < names.size(); ++i) {
    ExpectClose(run.name + " " + std::string(names[i]), (*right)[i].floats, (*left)[i].floats,
                tolerance);
  }
}

std::map<OpKind, int> CountKinds(const Graph& graph) {
  std::map<OpKind, int> counts;
  for (const Node& node : graph.nodes) ++counts[node.op];
  return counts;
}

class Golden : public testing::TestWithParam<std::filesystem::path> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Golden);
INSTANTIATE_TEST_SUITE_P(Text, Golden, testing::ValuesIn(StoredTextCases()), GoldenName);

// As many operations of each kind as there were, and the same numbers.
TEST_P(Golden, ComesBackFromOurExporter) {
  const Result<GoldenCase> golden = LoadGoldenCase(GetParam());
  ASSERT_TRUE(golden.has_value()) << golden.error().message();
  struct Form {
    const char* pass;
    int opset;
    OnnxCodes codes;
  };
  for (const Form& form : {Form{"", 13, OnnxCodes::kSigned}, Form{"", 17, OnnxCodes::kSigned},
                           Form{"weights_to_f16", 17, OnnxCodes::kSigned},
                           Form{"weights_to_int8", 15, OnnxCodes::kSigned},
                           Form{"weights_to_int8", 17, OnnxCodes::kUnsigned}}) {
    SCOPED_TRACE(std::string(form.pass) + " opset " + std::to_string(form.opset));
    Model model;
    model.architecture = "golden";
    model.graph = golden->graph;
    if (*form.pass != '\0') model.graph = *RunPass(*FindPass(form.pass), model.graph);
    const Result<std::string> file =
        SerializeOnnx(model, {.opset = form.opset, .codes = form.codes});
    ASSERT_TRUE(file.has_value()) << file.error().message();
    const Result<Graph> graph = ImportedGraph(*file);
    ASSERT_TRUE(graph.has_value()) << graph.error().message();
    EXPECT_EQ(CountKinds(*graph), CountKinds(model.graph));
    EXPECT_EQ(graph->max_sequence_length, model.graph.max_sequence_length);
    EXPECT_EQ(ComputeCost(*graph, {}).parameters, ComputeCost(model.graph, {}).parameters);
    ExpectSameOutputs(model.graph, *graph, golden->runs.front(), 1e-6);
  }
}

// Files of torch.onnx lie beside some of the checkpoints.
std::vector<std::filesystem::path> TorchCases() {
  std::vector<std::filesystem::path> folders = StoredTextCases();
  std::erase_if(folders, [](const auto& f) { return !std::filesystem::exists(f / "model.onnx"); });
  return folders;
}

class TorchGolden : public testing::TestWithParam<std::filesystem::path> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TorchGolden);
INSTANTIATE_TEST_SUITE_P(Text, TorchGolden, testing::ValuesIn(TorchCases()), GoldenName);

TEST_P(TorchGolden, IsReadFromTorch) {
  const std::string path = (GetParam() / "model.onnx").string();
  Result<ImportedModel> imported = ImportOnnx(path);
  ASSERT_TRUE(imported.has_value()) << imported.error().message();
  Result<GoldenCase> golden = LoadGoldenCase(GetParam());
  ASSERT_TRUE(golden.has_value()) << golden.error().message();
  // Exported with its logits only: what else the checkpoint gives is left out.
  for (GoldenRun& run : golden->runs) {
    std::erase_if(run.outputs, [&](const ExpectedOutput& output) {
      return imported->model.graph.FindOutput(output.graph_output) == nullptr;
    });
  }
  EXPECT_EQ(CountKinds(imported->model.graph), CountKinds(golden->graph))
      << Print(imported->model.graph);
  golden->graph = std::move(imported->model.graph);
  CheckGolden(golden, [](const Graph& graph) -> Result<ReferenceExecutor> {
    return ReferenceExecutor{graph};
  });
  EXPECT_NE(imported->model.tokenizer.kind, TokenizerKind::kNone);
  EXPECT_EQ(imported->model.task, Task::kSingleLabel);
}

}  // namespace
}  // namespace thimble
