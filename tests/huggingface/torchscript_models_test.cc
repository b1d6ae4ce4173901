// Every architecture and head as TorchScript: libtorch's interpreter, which knows nothing of our graph, gives the outputs of the
// references from padded batches. (tests/e2e/export_test.py does the same from Python.)
// First: its order of headers is the one that clang takes.
#include "thimble/train/torch.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

#include "tests/pruning/models.h"
#include "thimble/passes/passes.h"
#include "thimble/train/torchscript.h"

namespace thimble::train {
namespace {

constexpr Task kTasks[] = {Task::kFeatures, Task::kSingleLabel, Task::kTokenLabels,
                           Task::kAnswers,  Task::kMaskedLm,    Task::kPretraining};

std::optional<Model> SmallOf(const SmallModel& small, Task task,
                             const nlohmann::json& changes = nlohmann::json::object()) {
  RandomSource weights;
  auto config = nlohmann::json::parse(small.config);
  config.update(changes);
  Result<Graph> graph = BuildGraph(config, {.task = task, .labels = 3}, weights);
  if (!graph.has_value()) return std::nullopt;
  Model model;
  model.architecture = small.name;
  model.task = task;
  model.graph = *std::move(graph);
  return model;
}

// A padded rectangle whose mask has holes, and whose rows all attend to something but the last.
struct Rectangle {
  static constexpr int64_t kRows = 3, kLength = 6;
  std::vector<int32_t> ids{5, 7, 30, 2, 3, 8, 9, 21, 1, 6, 0, 0, 11, 12, 1, 14, 15, 16};
  std::vector<int32_t> types{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  std::vector<uint8_t> mask{1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0};
  std::vector<int32_t> offsets{0, 6, 12, 18};

  template <class T>
  static at::Tensor ToTorch(const std::vector<T>& values) {
    const at::Tensor tensor = at::empty({kRows, kLength}, at::kLong);
    std::copy(values.begin(), values.end(), tensor.data_ptr<int64_t>());
    return tensor;
  }
};

std::vector<float> Reference(const Graph& graph, std::string_view output) {
  const Rectangle r;
  std::vector<std::span<const int32_t>> inputs;
  for (const ValueId id : graph.inputs) {
    inputs.emplace_back(graph.value(id).name == kInputIds ? r.ids : r.types);
  }
  const auto values = RunReference(graph, {r.offsets, r.mask}, inputs, std::array{output});
  EXPECT_TRUE(values.has_value()) << values.error().message();
  return values.has_value() ? (*values)[0].floats : std::vector<float>();
}

std::vector<float> Floats(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  EXPECT_EQ(flat.scalar_type(), at::kFloat);
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

void ExpectNear(const at::Tensor& got, const std::vector<float>& want, double tolerance) {
  const std::vector<float> values = Floats(got);
  ASSERT_EQ(values.size(), want.size());
  float largest = 1;
  for (const float w : want) largest = std::max(largest, std::abs(w));
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_NEAR(values[i], want[i], tolerance * largest) << i;
}

class TorchScript : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "thimble-torchscript-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  c10::IValue Run(const Model& model) {
    const std::string path = folder_ + "/m.pt";
    const Result<size_t> written = ExportTorchScript(model, path);
    EXPECT_TRUE(written.has_value()) << written.error().message();
    EXPECT_EQ(*written, std::filesystem::file_size(path));
    const Rectangle r;
    torch::jit::Module module = torch::jit::load(path);
    return module.forward(
        {Rectangle::ToTorch(r.ids), Rectangle::ToTorch(r.mask), Rectangle::ToTorch(r.types)});
  }
  void ExpectLogits(const Model& model, double tolerance) {
    ExpectNear(Run(model).toTensor(), Reference(model.graph, "logits"), tolerance);
  }

  std::string folder_;
};

class TorchScriptModels : public TorchScript, public testing::WithParamInterface<SmallModel> {};

TEST_P(TorchScriptModels, GiveTheOutputsOfEveryTask) {
  size_t tasks = 0;
  for (const Task task : kTasks) {
    SCOPED_TRACE(TaskName(task));
    const std::optional<Model> model = SmallOf(GetParam(), task);
    if (!model) continue;
    ++tasks;
    const c10::IValue value = Run(*model);
    const bool tuple = value.isTuple();
    const auto element = [&](size_t i) {
      return tuple ? value.toTupleRef().elements()[i].toTensor() : value.toTensor();
    };
    if (task == Task::kAnswers) {
      ASSERT_TRUE(tuple);
      ExpectNear(at::stack({element(0), element(1)}, 2), Reference(model->graph, "logits"), 1e-5);
      continue;
    }
    ExpectNear(element(0),
               Reference(model->graph, task == Task::kFeatures ? "last_hidden_state" : "logits"),
               1e-5);
    const char* second = task == Task::kFeatures ? "pooler_output" : "seq_relationship_logits";
    const bool has_second = (task == Task::kFeatures || task == Task::kPretraining) &&
                            model->graph.FindOutput(second) != nullptr;
    EXPECT_EQ(tuple, has_second);
    if (has_second && tuple) ExpectNear(element(1), Reference(model->graph, second), 1e-5);
  }
  EXPECT_GE(tasks, 5u);
}

TEST_P(TorchScriptModels, PrunedToo) {
  Model model = *SmallOf(GetParam(), Task::kSingleLabel);
  const Graph whole = model.graph;
  model.graph = Shrunk(whole, SomeUnits(whole, 1));
  ExpectLogits(model, 1e-5);
  model.graph = Shrunk(whole, Nothing(whole));
  ExpectLogits(model, 1e-5);
}

TEST_P(TorchScriptModels, OtherTypesOfWeights) {
  Model model = *SmallOf(GetParam(), Task::kMaskedLm);
  const Graph whole = model.graph;
  for (const char* pass : {"weights_to_f16", "weights_to_int8"}) {
    model.graph = *RunPass(*FindPass(pass), whole);
    ExpectLogits(model, 1e-5);
  }
  // What static quantization leaves.
  model.graph = whole;
  for (Node& node : model.graph.nodes) {
    if (node.op == OpKind::kLinear) node.attrs = LinearAttrs{.input_scale = 1.0 / 64};
  }
  // Values beside a step may fall on the other side of it.
  ExpectLogits(model, 2e-2);
}

INSTANTIATE_TEST_SUITE_P(Models, TorchScriptModels, testing::ValuesIn(kSmallModels),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_F(TorchScript, EveryActivation) {
  for (const char* name : {
#define ACTIVATION(enumerator, name) name,
#define ACTIVATION_ALIAS(alias, enumerator)
#include "thimble/graph/activations.inc"
#undef ACTIVATION
#undef ACTIVATION_ALIAS
       }) {
    SCOPED_TRACE(name);
    ExpectLogits(*SmallOf(kSmallModels[0], Task::kSingleLabel, {{"hidden_act", name}}), 1e-5);
  }
}

TEST_F(TorchScript, SentencesAreMeans) {
  const SmallModel encoder{
      "encoder", R"({"model_type":"universal_sentence_encoder","vocab_size":40,"embedding_size":8,
      "hidden_size":16,"intermediate_size":12,"num_attention_heads":2,"max_position_embeddings":32})",
      0, 0, 0};
  const Model model = *SmallOf(encoder, Task::kFeatures);
  ExpectNear(Run(model).toTupleRef().elements()[1].toTensor(),
             Reference(model.graph, "pooler_output"), 1e-5);
}

TEST_F(TorchScript, LeaveNothingWhereTheyCannotBeWritten) {
  const Result<size_t> written =
      ExportTorchScript(*SmallOf(kSmallModels[0], Task::kSingleLabel), folder_ + "/none/m.pt");
  ASSERT_FALSE(written.has_value());
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

}  // namespace
}  // namespace thimble::train
