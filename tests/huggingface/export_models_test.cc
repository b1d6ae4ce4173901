// Every architecture and head, whole, pruned and quantized: what an exported directory holds, and that it comes back as the
// same function. Values are compared bit for bit: weights are not rounded on the way, and zeros add nothing.
#include <gmock/gmock.h>

#include <cstring>

#include "tests/huggingface/exported.h"
#include "tests/pruning/models.h"
#include "thimble/passes/passes.h"

namespace thimble {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// Random weights, kept under the names by which the architecture asks for them.
class Recorded final : public WeightSource {
 public:
  Result<Tensor> Get(std::string_view name, const Shape& shape) override {
    TRY(const Tensor tensor, source_.Get(name, shape));
    asked.insert_or_assign(std::string(name), tensor);
    return tensor;
  }
  bool Has(std::string_view) const override { return true; }

  std::map<std::string, Tensor> asked;

 private:
  RandomSource source_;
};

struct Built {
  Model model;
  std::map<std::string, Tensor> asked;
};

std::optional<Built> Build(const SmallModel& small, Task task, nlohmann::json changes = {}) {
  Recorded weights;
  auto config = nlohmann::json::parse(small.config);
  if (changes.is_object()) config.update(changes);
  const bool labels =
      task == Task::kSingleLabel || task == Task::kMultiLabel || task == Task::kTokenLabels;
  Result<Graph> graph = BuildGraph(config, {.task = task, .labels = 3}, weights);
  if (!graph.has_value()) return std::nullopt;
  Built built;
  built.model.architecture = config["model_type"];
  built.model.task = task;
  if (labels) built.model.labels = {"no", "may|be", "y\"es"};
  if (task == Task::kRegression) built.model.labels = {"a", "b", "c"};
  built.model.graph = *std::move(graph);
  built.model.provenance = {{"source", "here"}, {"valid_metrics", "{\"accuracy\": 0.5}"}};
  built.asked = std::move(weights.asked);
  return built;
}

// The outputs of a task by the references, with a mask that has holes.
std::vector<std::vector<float>> Values(const Graph& graph, Task task) {
  const SmallBatch b;
  std::vector<uint8_t> mask(b.ids.size(), 1);
  mask[2] = mask[5] = mask[10] = 0;
  std::vector<std::span<const int32_t>> inputs;
  for (const ValueId id : graph.inputs) {
    inputs.emplace_back(graph.value(id).name == kInputIds ? b.ids : b.types);
  }
  std::vector<std::string_view> outputs{"last_hidden_state"};
  if (task != Task::kFeatures) outputs.emplace_back("logits");
  const auto values = RunReference(graph, {b.offsets, mask}, inputs, outputs);
  EXPECT_TRUE(values.has_value()) << values.error().message();
  std::vector<std::vector<float>> floats;
  if (values) {
    for (const ReferenceValue& value : *values) floats.push_back(value.floats);
  }
  return floats;
}

class ExportModels : public Exported, public testing::WithParamInterface<SmallModel> {
 protected:
  // Exports, imports, compares; returns what came back.
  std::optional<HuggingFaceImport> ExpectSame(const Model& model,
                                              PrunedHeads heads = PrunedHeads::kNamed) {
    Result<HuggingFaceImport> back = ThereAndBack(model, heads);
    EXPECT_TRUE(back.has_value()) << back.error().message();
    if (!back.has_value()) return std::nullopt;
    EXPECT_EQ(back->model.task, model.task);
    EXPECT_EQ(back->model.architecture, model.architecture);
    EXPECT_EQ(back->model.labels, model.labels);
    EXPECT_THAT(back->warnings, IsEmpty());
    EXPECT_EQ(Values(back->model.graph, model.task), Values(model.graph, model.task));
    return *std::move(back);
  }
};

TEST_P(ExportModels, OfEveryTaskComeBackBitForBit) {
  size_t tasks = 0;
  for (const Task task :
       {Task::kFeatures, Task::kSingleLabel, Task::kMultiLabel, Task::kRegression,
        Task::kTokenLabels, Task::kAnswers, Task::kMaskedLm, Task::kPretraining}) {
    SCOPED_TRACE(TaskName(task));
    const std::optional<Built> built = Build(GetParam(), task);
    if (!built) continue;
    ++tasks;
    const std::optional<HuggingFaceImport> back = ExpectSame(built->model);
    ASSERT_TRUE(back.has_value());
    // The very tensors that the architecture's builder asks for, by name, shape, type and bytes.
    const SafetensorsFile file = Weights();
    EXPECT_EQ(file.metadata.at("format"), "pt");
    size_t unused = 0;
    for (const auto& [name, stored] : file.tensors) {
      // A class without a head names its parts without itself in front, as ImportHuggingFace knows.
      const bool bare = task == Task::kFeatures;
      const auto asked = built->asked.find((bare ? built->model.architecture + "." : "") + name);
      if (asked == built->asked.end()) {
        EXPECT_THAT(name, HasSubstr("embedding_transformation"));
        ++unused;
        continue;
      }
      EXPECT_EQ(stored.type, StoredType::kF32) << name;
      EXPECT_EQ(stored.shape, asked->second.shape()) << name;
      ASSERT_EQ(stored.data.size(), asked->second.data().size()) << name;
      EXPECT_EQ(std::memcmp(stored.data.data(), asked->second.data().data(), stored.data.size()), 0)
          << name;
    }
    EXPECT_EQ(file.tensors.size() - unused, built->asked.size());
    EXPECT_EQ(back->unused_tensors.size(), unused);
  }
  EXPECT_GE(tasks, 7u);
}

TEST_P(ExportModels, ConfigurationSaysWhatTheOriginalSaid) {
  const std::optional<Built> built = Build(GetParam(), Task::kSingleLabel);
  ASSERT_TRUE(ThereAndBack(built->model).has_value());
  const nlohmann::json config = Config(), original = nlohmann::json::parse(GetParam().config);
  for (const auto& [key, value] : original.items())
    EXPECT_EQ(config.value(key, nlohmann::json()), value) << key;
  EXPECT_EQ(config["problem_type"], "single_label_classification");
  EXPECT_EQ(config["id2label"], (nlohmann::json{{"0", "no"}, {"1", "may|be"}, {"2", "y\"es"}}));
  EXPECT_EQ(config["label2id"], (nlohmann::json{{"no", 0}, {"may|be", 1}, {"y\"es", 2}}));
  EXPECT_THAT(config["architectures"][0].get<std::string>(),
              testing::EndsWith("ForSequenceClassification"));
  EXPECT_EQ(config["torch_dtype"], "float32");
  EXPECT_FALSE(config.contains("pruned_heads"));
}

TEST_P(ExportModels, PrunedKeepTheirOutputs) {
  const std::optional<Built> built = Build(GetParam(), Task::kSingleLabel);
  Model model = built->model;
  for (const uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    model.graph = Shrunk(built->model.graph, SomeUnits(built->model.graph, seed));
    ASSERT_TRUE(ExpectSame(model).has_value());
    // What is stored has the shapes of the classes' own pruning: one width of all feed-forward networks.
    const nlohmann::json config = Config();
    int64_t heads = 0, gone = 0;
    for (const Node& node : model.graph.nodes) {
      if (node.op == OpKind::kAttention) heads += std::get<AttentionAttrs>(node.attrs).heads;
    }
    for (const auto& list : config.value("pruned_heads", nlohmann::json::object())) {
      gone += static_cast<int64_t>(list.size() * GetParam().places);
    }
    EXPECT_EQ(heads + gone, static_cast<int64_t>(3 * GetParam().heads * GetParam().places));
  }
}

TEST_P(ExportModels, PrunedHeadsMayStayAsZeros) {
  const std::optional<Built> built = Build(GetParam(), Task::kSingleLabel);
  Model model = built->model;
  for (const std::vector<Kept>& kept : {SomeUnits(model.graph, 4), Nothing(model.graph)}) {
    model.graph = Shrunk(built->model.graph, kept);
    ASSERT_TRUE(ExpectSame(model, PrunedHeads::kZeros).has_value());
    EXPECT_FALSE(Config().contains("pruned_heads"));
  }
}

TEST_P(ExportModels, PrunedAsAWholeKeepTheirOutputs) {
  const std::optional<Built> built = Build(GetParam(), Task::kSingleLabel);
  Model model = built->model;
  for (const Kept& kept : Nothing(built->model.graph)) {
    SCOPED_TRACE(kept.structure);
    model.graph = Shrunk(built->model.graph, {kept});
    ASSERT_TRUE(ExpectSame(model).has_value());
    EXPECT_EQ(exported_.notes.size(), 1u);
    EXPECT_THAT(Text("README.md"), HasSubstr("## Pruned"));
  }
  // Nothing is left of the body, from which even the width of the heads could be told.
  model.graph = Shrunk(built->model.graph, Nothing(built->model.graph));
  ExpectSame(model);
}

TEST_P(ExportModels, OtherTypesOfWeights) {
  for (const Task task : {Task::kSingleLabel, Task::kMaskedLm}) {
    const std::optional<Built> built = Build(GetParam(), task);
    Model model = built->model;
    for (const char* pass : {"weights_to_f16", "weights_to_int8"}) {
      SCOPED_TRACE(pass);
      model.graph = *RunPass(*FindPass(pass), built->model.graph);
      ASSERT_TRUE(ExpectSame(model).has_value());
    }
  }
}

TEST_P(ExportModels, DecodersOfTheirOwn) {
  const std::optional<Built> built =
      Build(GetParam(), Task::kMaskedLm, {{"tie_word_embeddings", false}});
  ASSERT_TRUE(built.has_value());
  ASSERT_TRUE(ExpectSame(built->model).has_value());
  EXPECT_EQ(Config()["tie_word_embeddings"], false);
}

INSTANTIATE_TEST_SUITE_P(Models, ExportModels, testing::ValuesIn(kSmallModels),
                         [](const auto& p) { return std::string(p.param.name); });

class ExportRefusals : public Exported {
 protected:
  void ExpectRefused(const Model& model, const std::string& reason) {
    const Result<HuggingFaceExport> exported = ExportHuggingFace(model, directory_);
    ASSERT_FALSE(exported.has_value());
    EXPECT_EQ(exported.error().code(), ErrorCode::kUnsupported);
    EXPECT_THAT(exported.error().message(), HasSubstr(reason));
    EXPECT_TRUE(std::filesystem::is_empty(folder_));
  }
  const std::optional<Built> built_ = Build(kSmallModels[0], Task::kSingleLabel);
};

TEST_F(ExportRefusals, NameTheNodeThatDiffers) {
  Model model = built_->model;
  model.graph.nodes.back().name = "my_classifier";
  ExpectRefused(model, "my_classifier: the architecture has no such node");
}

TEST_F(ExportRefusals, OtherAttributes) {
  Model model = built_->model;
  for (Node& node : model.graph.nodes) {
    if (node.name == "bert.encoder.layer.1.output_norm")
      node.attrs = LayerNormAttrs{.epsilon = 0.5};
  }
  ExpectRefused(model, "bert.encoder.layer.1.output_norm: has other attributes");
}

TEST_F(ExportRefusals, ScaledResiduals) {
  Model model = built_->model;
  model.graph = Shrunk(model.graph, {{"bert.encoder.layer.1.attention", {}, std::nullopt}});
  for (Node& node : model.graph.nodes) {
    if (node.op == OpKind::kAffine) {
      node.weights[0].tensor = Tensor::FromFloats({24}, std::vector<float>(24, 0.5f));
    }
  }
  ExpectRefused(model, "bert.encoder.layer.1.attention.removed: this part was pruned as a whole");
}

TEST_F(ExportRefusals, WeightsThatTheClassShares) {
  const SmallModel& albert = kSmallModels[3];
  Model model = Build(albert, Task::kSingleLabel)->model;
  for (Node& node : model.graph.nodes) {
    if (node.name == "albert.encoder.layer.1.0.query") {
      node.weights[0].tensor = Tensor::FromFloats({24, 24}, std::vector<float>(576, 0.5f));
    }
  }
  ExpectRefused(model, "albert.encoder.layer.1.0.query: has other values of");
}

TEST_F(ExportRefusals, ForeignArchitectures) {
  Model model;
  Builder builder;
  const ValueId ids = builder.Input(kInputIds);
  const Tensor table = Tensor::FromFloats({4, 2}, std::vector<float>(8, 1.0f));
  builder.Output("last_hidden_state",
                 builder.Add(OpKind::kEmbedding, "words", {ids}, {{"words", table}}));
  model.graph = *std::move(builder).Finish(4);
  ExpectRefused(model, "its nodes have the names of no architecture");
}

TEST_F(ExportRefusals, ModelCardTakesWhateverTextsHold) {
  Model model = built_->model;
  model.provenance.emplace_back("note", "a|b\n<script>`x`");
  ASSERT_TRUE(ExportHuggingFace(model, directory_).has_value());
  const std::string card = Text("README.md");
  EXPECT_THAT(card, HasSubstr("| note | a\\|b &lt;script>\\`x\\` |"));
  EXPECT_THAT(card, HasSubstr("pipeline_tag: text-classification"));
  EXPECT_THAT(card, HasSubstr("## Metrics"));
  EXPECT_THAT(card, HasSubstr("## Provenance"));
}

// --- Import of pruned_heads

class PrunedHeads : public Exported {
 protected:
  std::string ImportWith(const nlohmann::json& pruned_heads) {
    EXPECT_TRUE(ExportHuggingFace(Build(kSmallModels[0], Task::kSingleLabel)->model, directory_)
                    .has_value());
    nlohmann::json config = Config();
    config["pruned_heads"] = pruned_heads;
    std::ofstream(directory_ + "/config.json") << config;
    const auto imported = ImportHuggingFace(directory_);
    return imported.has_value() ? "accepted" : imported.error().message();
  }
};

TEST_F(PrunedHeads, AreCheckedWhereTheyAreRead) {
  EXPECT_EQ(ImportWith(nlohmann::json::object()), "accepted");
  EXPECT_THAT(ImportWith({{"0", {1}}}), HasSubstr("the configuration asks for [16"));
  EXPECT_THAT(ImportWith({{"2", {1}}}),
              HasSubstr("\"pruned_heads\" must give lists of heads below 3"));
  EXPECT_THAT(ImportWith({{"0", {3}}}),
              HasSubstr("\"pruned_heads\" must give lists of heads below 3"));
  EXPECT_THAT(ImportWith({{"0", 1}}), HasSubstr("\"pruned_heads\" must"));
  EXPECT_THAT(ImportWith({{"-1", {1}}}), HasSubstr("\"pruned_heads\" must"));
  EXPECT_THAT(ImportWith({{"x", {1}}}), HasSubstr("\"pruned_heads\" must"));
  EXPECT_THAT(ImportWith(nlohmann::json::array({1})), HasSubstr("\"pruned_heads\" must"));
  EXPECT_THAT(ImportWith({{"1", {0, 1, 2, 2}}}),
              HasSubstr("\"pruned_heads\" leaves layer 1 no head"));
}

}  // namespace
}  // namespace thimble
