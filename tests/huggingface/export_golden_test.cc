// Goldens: checkpoint -> .thimble -> exported directory -> import gives the outputs of the original code, from tensors with
// the names, shapes, types and bytes of the original checkpoint.
#include <gmock/gmock.h>

#include <cstring>
#include <set>

#include "tests/huggingface/exported.h"
#include "tests/support/golden_runner.h"
#include "tests/support/session_executor.h"
#include "tests/support/shared.h"
#include "thimble/formats/huggingface/checkpoint.h"

namespace thimble {
namespace {

class ExportGolden : public Exported, public testing::WithParamInterface<std::filesystem::path> {};

// Keys of a configuration that say what is computed.
constexpr const char* kKeys[] = {
    "activation",
    "architectures",
    "dim",
    "embedding_size",
    "hidden_dim",
    "hidden_size",
    "inner_group_num",
    "intermediate_size",
    "max_position_embeddings",
    "model_type",
    "n_heads",
    "n_layers",
    "normalization_type",
    "num_attention_heads",
    "num_feedforward_networks",
    "num_hidden_groups",
    "num_hidden_layers",
    "problem_type",
    "trigram_input",
    "type_vocab_size",
    "use_bottleneck",
    "use_bottleneck_attention",
    "vocab_size",
};

void ExpectSameConfig(const nlohmann::json& original, const nlohmann::json& exported) {
  for (const char* key : kKeys) {
    if (original.contains(key)) {
      EXPECT_EQ(exported.value(key, nlohmann::json()), original[key]) << key;
    }
  }
  // What only matters with bottlenecks, to heads that pool, or to norms that are there.
  if (original.value("use_bottleneck", true) && original.contains("intra_bottleneck_size")) {
    EXPECT_EQ(exported["intra_bottleneck_size"], original["intra_bottleneck_size"]);
  }
  const bool pools =
      exported["architectures"][0].get<std::string>().ends_with("ForSequenceClassification");
  if (pools && original.contains("classifier_activation")) {
    EXPECT_EQ(exported["classifier_activation"], original["classifier_activation"]);
  }
  if (original.value("use_bottleneck", true) &&
      !original.value("use_bottleneck_attention", false) &&
      original.contains("key_query_shared_bottleneck")) {
    EXPECT_EQ(exported["key_query_shared_bottleneck"], original["key_query_shared_bottleneck"]);
  }
  if (original["model_type"] != "mobilebert" && original.contains("layer_norm_eps")) {
    EXPECT_EQ(exported["layer_norm_eps"], original["layer_norm_eps"]);
  }
  const std::string act = original.value("hidden_act", "");
  if (!act.empty()) {
    EXPECT_EQ(ActivationFromName(exported["hidden_act"].get<std::string>()),
              ActivationFromName(act));
  }
}

TEST_P(ExportGolden, ComesBackAsItWas) {
  const Result<HuggingFaceImport> original = ImportHuggingFace(GetParam().string());
  ASSERT_TRUE(original.has_value()) << original.error().message();
  Model model = original->model;
  Result<Graph> stored = ThroughFile(model.graph, "");
  ASSERT_TRUE(stored.has_value()) << stored.error().message();
  model.graph = *std::move(stored);
  const Result<HuggingFaceImport> back = ThereAndBack(model);
  ASSERT_TRUE(back.has_value()) << back.error().message();
  EXPECT_EQ(back->model.task, original->model.task);
  EXPECT_EQ(back->model.labels, original->model.labels);
  EXPECT_EQ(back->model.tokenizer, original->model.tokenizer);
  EXPECT_EQ(back->model.graph.max_sequence_length, original->model.graph.max_sequence_length);
  ExpectSameConfig(*ReadJson(GetParam() / "config.json"), Config());

  const std::set<std::string> unused(original->unused_tensors.begin(),
                                     original->unused_tensors.end());
  const Result<Checkpoint> before = Checkpoint::Open(GetParam().string());
  const SafetensorsFile file = Weights();
  size_t expected = 0;
  for (const auto& [name, tensor] : before->tensors()) {
    if (unused.contains(name)) continue;
    ++expected;
    const auto found = file.tensors.find(name);
    ASSERT_NE(found, file.tensors.end()) << name;
    EXPECT_EQ(found->second.shape, tensor.shape) << name;
    const Tensor a = *Load(tensor), b = *Load(found->second);
    EXPECT_EQ(a.ToFloats(), b.ToFloats()) << name;
    if (a.rank() == 2) {
      EXPECT_EQ(a.dtype(), b.dtype()) << name;
    }
  }
  for (const auto& [name, tensor] : file.tensors) {
    if (std::ranges::find(back->unused_tensors, name) == back->unused_tensors.end()) --expected;
  }
  EXPECT_EQ(expected, 0u) << "tensors that the original has not";

  Result<GoldenCase> golden = LoadGoldenCase(GetParam());
  ASSERT_TRUE(golden.has_value());
  for (const GoldenRun& run : golden->runs) {
    std::vector<std::string_view> outputs;
    for (const ExpectedOutput& output : run.outputs) outputs.push_back(output.graph_output);
    const auto now = ReferenceExecutor{back->model.graph}(run.inputs, outputs);
    const auto then = ReferenceExecutor{golden->graph}(run.inputs, outputs);
    ASSERT_TRUE(now.has_value() && then.has_value());
    for (size_t i = 0; i < outputs.size(); ++i)
      EXPECT_EQ((*now)[i].floats, (*then)[i].floats) << run.name << " " << outputs[i];
    CheckRun(run, ReferenceExecutor{back->model.graph}, golden->tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, ExportGolden, testing::ValuesIn(StoredTextCases()), GoldenName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ExportGolden);

}  // namespace
}  // namespace thimble
