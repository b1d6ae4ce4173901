#include "tests/support/golden_case.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/support/recipe.h"
#include "tests/support/shared.h"
#include "thimble/formats/huggingface/import.h"
#include "thimble/formats/safetensors/safetensors.h"

namespace thimble {
namespace {

// The class that wrote the checkpoint says which head it has.
std::optional<Task> TaskOfClass(std::string_view model_class) {
  constexpr std::pair<std::string_view, Task> kHeads[] = {
      {"ForSequenceClassification", Task::kSingleLabel},
      {"ForTokenClassification", Task::kTokenLabels},
      {"ForQuestionAnswering", Task::kAnswers},
      {"ForMaskedLM", Task::kMaskedLm},
      {"ForPreTraining", Task::kPretraining},
      {"Model", Task::kFeatures}};
  for (const auto& [suffix, task] : kHeads) {
    if (model_class.ends_with(suffix)) return task;
  }
  return std::nullopt;
}

Result<Graph> BuildFor(const nlohmann::json& config, const std::string& model_class,
                       WeightSource& weights) {
  const std::optional<Task> task = TaskOfClass(model_class);
  if (!task.has_value()) return Unsupported("a head for " + model_class + " is not known");
  return BuildGraph(config, {.task = *task, .labels = std::nullopt}, weights);
}

std::vector<int32_t> ToIds(const Tensor& tensor) {
  std::vector<int32_t> ids;
  for (const float id : tensor.ToFloats()) ids.push_back(static_cast<int32_t>(id));
  return ids;
}

Status AddInput(GoldenRun& run, std::string_view name, const StoredTensor& stored) {
  TRY(const Tensor tensor, Load(stored));
  const std::vector<int32_t> ids = ToIds(tensor);
  if (name == "input_ids") {
    run.sequences = static_cast<size_t>(tensor.dim(0));
    run.length = static_cast<size_t>(tensor.dim(1));
    run.inputs.ids = ids;
  } else if (name == "token_type_ids") {
    run.inputs.types = ids;
  } else if (name == "attention_mask") {
    run.inputs.mask.assign(ids.begin(), ids.end());
  } else {
    return Unsupported("an input called " + std::string(name));
  }
  return {};
}

Status AddOutput(GoldenRun& run, std::string_view name, const StoredTensor& stored) {
  // Softmax and sigmoid of the logits are the caller's; hidden layers are there for debugging.
  if (name.starts_with("probabilities") || name.starts_with("hidden_states") ||
      name.starts_with("attentions")) {
    return {};
  }
  TRY(const Tensor tensor, Load(stored));
  ExpectedOutput output{.name = std::string(name),
                        .graph_output = std::string(name),
                        .rows = {},
                        .columns = static_cast<size_t>(tensor.shape().back()),
                        .values = tensor.ToFloats()};
  if (name == "prediction_logits") output.graph_output = "logits";
  if (name == "start_logits" || name == "end_logits") {
    output.graph_output = "logits";
    output.first_column = name == "start_logits" ? 0 : 1;
    output.columns = 1;
  }
  run.outputs.push_back(std::move(output));
  return {};
}

// Whole sequences without a mask or types have ones and zeros.
void Complete(GoldenRun& run) {
  const size_t tokens = run.inputs.ids.size();
  if (run.inputs.types.empty()) run.inputs.types.assign(tokens, 0);
  if (run.inputs.mask.empty()) run.inputs.mask.assign(tokens, 1);
  for (size_t s = 1; s <= run.sequences; ++s) {
    run.inputs.offsets.push_back(static_cast<int32_t>(s * run.length));
  }
}

// Logits over a large vocabulary are stored for a few positions only, which expected.json lists.
Status SelectPositions(GoldenRun& run, const std::filesystem::path& folder,
                       const std::string& model_class) {
  TRY(const nlohmann::json expected, ReadJson(folder / "expected.json"));
  for (ExpectedOutput& output : run.outputs) {
    const auto entry = expected.at("outputs").find(model_class + "." + output.name);
    if (entry == expected.at("outputs").end() || !entry->contains("positions")) continue;
    for (const auto& position : entry->at("positions")) {
      output.rows.push_back(position.at(0).get<size_t>() * run.length +
                            position.at(1).get<size_t>());
    }
  }
  return {};
}

}  // namespace

Result<GoldenCase> LoadGoldenCase(const std::filesystem::path& folder) {
  TRY(HuggingFaceImport imported, ImportHuggingFace(folder.string()));
  TRY(const SafetensorsFile file, OpenSafetensors((folder / "expected.safetensors").string()));
  std::map<std::string, GoldenRun> runs;
  for (const auto& [key, stored] : file.tensors) {
    const size_t run_end = key.find('.'), kind_end = key.find('.', run_end + 1);
    GoldenRun& run = runs[key.substr(0, run_end)];
    const std::string kind = key.substr(run_end + 1, kind_end - run_end - 1);
    const std::string_view name = std::string_view(key).substr(kind_end + 1);
    TRY_VOID(kind == "input" ? AddInput(run, name, stored) : AddOutput(run, name, stored));
  }
  GoldenCase golden{std::move(imported.model.graph), {}};
  for (auto& [name, run] : runs) {
    Complete(run);
    run.name = name;
    golden.runs.push_back(std::move(run));
  }
  return golden;
}

std::vector<std::string> RecipeModelClasses(const std::filesystem::path& folder) {
  const Result<nlohmann::json> expected = ReadJson(folder / "expected.json");
  if (!expected.has_value()) return {};
  return expected->at("model_classes").get<std::vector<std::string>>();
}

Result<GoldenCase> LoadRecipeCase(const std::filesystem::path& folder,
                                  const std::string& model_class) {
  TRY(const nlohmann::json config, ReadJson(folder / "config.json"));
  TRY(RecipeWeights weights, RecipeWeights::Read(folder / "recipe.json"));
  TRY(Graph graph, BuildFor(config, model_class, weights));
  TRY(const SafetensorsFile file, OpenSafetensors((folder / "expected.safetensors").string()));
  GoldenRun run;
  run.name = model_class;
  for (const auto& [key, stored] : file.tensors) {
    const std::string_view name = std::string_view(key).substr(key.rfind('.') + 1);
    if (key.starts_with("input.")) {
      TRY_VOID(AddInput(run, name, stored));
    } else if (key.starts_with("output." + model_class + ".") ||
               (key.starts_with("output.backbone.") && graph.FindOutput(name) != nullptr)) {
      TRY_VOID(AddOutput(run, name, stored));
    }
  }
  Complete(run);
  TRY_VOID(SelectPositions(run, folder, model_class));
  GoldenCase golden{std::move(graph), {}, 5e-5};
  golden.runs.push_back(std::move(run));
  return golden;
}

std::optional<GoldenRun> WithoutPadding(const Graph& graph, const GoldenRun& run) {
  for (const Node& node : graph.nodes) {
    if (node.op == OpKind::kTrigram) return std::nullopt;
  }
  GoldenRun cut;
  cut.name = run.name + " without padding";
  cut.sequences = run.sequences;
  std::vector<size_t> kept;  // tokens
  for (size_t s = 0; s < run.sequences; ++s) {
    const auto begin = run.inputs.mask.begin() + static_cast<std::ptrdiff_t>(s * run.length);
    const auto end = begin + static_cast<std::ptrdiff_t>(run.length);
    const auto padding = std::find(begin, end, 0);
    if (padding == begin || std::find(padding, end, 1) != end) return std::nullopt;
    for (size_t t = 0; t < static_cast<size_t>(padding - begin); ++t)
      kept.push_back(s * run.length + t);
    cut.inputs.offsets.push_back(static_cast<int32_t>(kept.size()));
  }
  for (const size_t t : kept) {
    cut.inputs.ids.push_back(run.inputs.ids[t]);
    cut.inputs.types.push_back(run.inputs.types[t]);
    cut.inputs.mask.push_back(1);
  }
  for (const ExpectedOutput& output : run.outputs) {
    const GraphOutput* value = graph.FindOutput(output.graph_output);
    if (value == nullptr || !output.rows.empty()) return std::nullopt;
    ExpectedOutput part = output;
    if (graph.value(value->value).type.rows == Rows::kTokens) {
      part.values.clear();
      for (const size_t t : kept) {
        const auto row = output.values.begin() + static_cast<std::ptrdiff_t>(t * output.columns);
        part.values.insert(part.values.end(), row,
                           row + static_cast<std::ptrdiff_t>(output.columns));
      }
    }
    cut.outputs.push_back(std::move(part));
  }
  return cut;
}

}  // namespace thimble
