#include "thimble/formats/huggingface/peft.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "thimble/base/file.h"
#include "thimble/base/quote.h"
#include "thimble/formats/huggingface/json.h"
#include "thimble/formats/safetensors/safetensors.h"
#include "thimble/formats/torch/torch_file.h"
#include "thimble/passes/lora.h"
#include "thimble/passes/replace_head.h"

namespace thimble {
namespace {

struct Config {
  int64_t rank = 8;
  double scale = 1;  // alpha / rank
  std::string task_type;
};

Result<Config> ReadConfig(const Json& json) {
  TRY(const auto type, FindText(json, "peft_type"));
  if (type.value_or("") != "LORA") {
    return Unsupported("\"peft_type\" is " + Quoted(type.value_or("")) + ", and only LORA is read");
  }
  TRY(const auto bias, FindText(json, "bias"));
  if (bias.value_or("none") != "none") {
    return Unsupported("\"bias\" is " + Quoted(*bias) + ": trained biases are not read");
  }
  for (const char* key : {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"}) {
    TRY(const auto flag, FindFlag(json, key));
    if (flag.value_or(false)) return Unsupported("\"" + std::string(key) + "\" is not read");
  }
  for (const char* key : {"rank_pattern", "alpha_pattern", "layer_replication"}) {
    const Json* value = Find(json, key);
    if (value != nullptr && !value->empty()) {
      return Unsupported("\"" + std::string(key) + "\" is not read");
    }
  }
  Config config;
  TRY(const auto rank, FindInteger(json, "r"));
  config.rank = rank.value_or(config.rank);
  if (config.rank < 1) return InvalidData("\"r\" is " + std::to_string(config.rank));
  const Json* alpha = Find(json, "lora_alpha");
  if (alpha != nullptr && !alpha->is_number()) return InvalidData("\"lora_alpha\" is not a number");
  constexpr double kDefaultAlpha = 8;
  const auto rank_as_number = static_cast<double>(config.rank);
  TRY(const auto stabilized, FindFlag(json, "use_rslora"));
  config.scale = (alpha != nullptr ? alpha->get<double>() : kDefaultAlpha) /
                 (stabilized.value_or(false) ? std::sqrt(rank_as_number) : rank_as_number);
  TRY(const auto task, FindText(json, "task_type"));
  config.task_type = task.value_or("");
  return config;
}

// By the name of the module or weight in the original model.
struct Tensors {
  std::map<std::string, Tensor> down, up, head;
};

Result<StoredTensors> OpenTensors(const std::string& directory) {
  const std::string path = directory + "/adapter_model.safetensors";
  if (!FileExists(path)) return OpenTorch(directory + "/adapter_model.bin");
  TRY(SafetensorsFile file, OpenSafetensors(path));
  return std::move(file.tensors);
}

Result<Tensors> Sort(const StoredTensors& stored) {
  constexpr std::string_view kPrefix = "base_model.model.";
  Tensors tensors;
  for (const auto& [full_name, entry] : stored) {
    std::string name = full_name;
    if (name.starts_with(kPrefix)) name.erase(0, kPrefix.size());
    TRY(const Tensor tensor, Load(entry));
    if (name.ends_with(kLoraDownWeight)) {
      tensors.down[name.substr(0, name.size() - kLoraDownWeight.size())] = tensor;
    } else if (name.ends_with(kLoraUpWeight)) {
      tensors.up[name.substr(0, name.size() - kLoraUpWeight.size())] = tensor;
    } else if (name.find("lora_") != name.npos) {
      return Unsupported("tensor " + Quoted(full_name) + " is of a kind that is not read");
    } else {
      tensors.head[name] = tensor;
    }
  }
  if (tensors.down.empty()) return InvalidData("has no low-rank matrices");
  return tensors;
}

Task TaskOf(const Config& config, const Model& base, const Tensors& tensors) {
  if (config.task_type == "TOKEN_CLS") return Task::kTokenLabels;
  if (config.task_type == "QUESTION_ANS") return Task::kAnswers;
  if (config.task_type == "FEATURE_EXTRACTION") return Task::kFeatures;
  if (config.task_type != "SEQ_CLS") return base.task;
  const bool one = std::any_of(tensors.head.begin(), tensors.head.end(), [](const auto& t) {
    return t.second.rank() == 2 && t.second.dim(0) == 1;
  });
  return one ? Task::kRegression : Task::kSingleLabel;
}

Tensor AsFloats(const Tensor& tensor) {
  return Tensor::FromFloats(tensor.shape(), tensor.ToFloats());
}

// Puts tensors in place of the weights that have their names, all or none.
bool Assign(Graph& graph, const std::map<std::string, Tensor>& tensors) {
  Graph changed = graph;
  std::set<std::string> placed;
  for (Node& node : changed.nodes) {
    for (Weight& weight : node.weights) {
      const auto found = tensors.find(weight.name);
      if (found == tensors.end() || found->second.shape() != weight.tensor.shape()) continue;
      weight.tensor = AsFloats(found->second);
      placed.insert(weight.name);
    }
  }
  if (placed.size() != tensors.size()) return false;
  graph = std::move(changed);
  return true;
}

// The head that the tensors are of: the base's own, or a linear on its features.
Status SetHead(const std::map<std::string, Tensor>& head, Task task, Graph& graph) {
  if (Assign(graph, head)) return {};
  const std::string name = task == Task::kAnswers ? "qa_outputs" : "classifier";
  const auto weight = head.find(name + ".weight");
  if (weight != head.end() && weight->second.rank() == 2) {
    TRY(Graph renewed, ReplaceHead(graph, {.task = task, .labels = weight->second.dim(0)}));
    if (Assign(renewed, head)) {
      graph = std::move(renewed);
      return {};
    }
  }
  return Unsupported("its head (" + Quoted(head.begin()->first) +
                     ", ...) is not the base's, nor a linear on its features");
}

Status SetMatrices(const Tensors& tensors, double scale, Graph& graph) {
  const auto find = [](const std::map<std::string, Tensor>& of, std::string_view weight,
                       std::string_view end) -> const Tensor* {
    const std::string name(weight.substr(0, weight.size() - end.size()));
    for (const auto& [module, tensor] : of) {
      if (name == module || name.ends_with("." + module)) return &tensor;
    }
    return nullptr;
  };
  // Linears that share their weight share these too.
  std::map<const Tensor*, Tensor> done;
  for (const LoraBranch& branch : FindLora(graph)) {
    Weight& down = graph.nodes[branch.down].weights[0];
    Weight& up = graph.nodes[branch.up].weights[0];
    const Tensor* a = find(tensors.down, down.name, kLoraDownWeight);
    const Tensor* b = find(tensors.up, up.name, kLoraUpWeight);
    if (a == nullptr || b == nullptr || a->shape() != down.tensor.shape() ||
        b->shape() != up.tensor.shape()) {
      return InvalidData("the matrices of " + Quoted(graph.nodes[branch.linear].name) +
                         " are missing or of another size than " + ShapeText(down.tensor.shape()) +
                         " and " + ShapeText(up.tensor.shape()));
    }
    if (!done.contains(a)) {
      std::vector<float> scaled = b->ToFloats();
      for (float& value : scaled) value = static_cast<float>(scale * value);
      done.emplace(a, AsFloats(*a));
      done.emplace(b, Tensor::FromFloats(b->shape(), scaled));
    }
    down.tensor = done.at(a);
    up.tensor = done.at(b);
  }
  return {};
}

Result<Model> Read(const Json& json, const StoredTensors& stored, const Model& base,
                   std::optional<Task> task) {
  TRY(const Config config, ReadConfig(json));
  TRY(const Tensors tensors, Sort(stored));
  Model model = base;
  model.task = task.value_or(TaskOf(config, base, tensors));
  model.thresholds.clear();
  if (!tensors.head.empty()) TRY_VOID(SetHead(tensors.head, model.task, model.graph));
  LoraOptions options{.rank = config.rank, .targets = {}};
  for (const auto& [name, down] : tensors.down) options.targets.push_back(name);
  TRY(model.graph, AddLora(model.graph, options));
  TRY_VOID(SetMatrices(tensors, config.scale, model.graph));

  const GraphOutput* logits = model.graph.FindOutput("logits");
  const size_t outputs =
      logits == nullptr ? 0 : static_cast<size_t>(model.graph.value(logits->value).type.width);
  const bool named = model.task != Task::kAnswers && model.task != Task::kFeatures;
  if (model.labels.size() != outputs || !named) {
    model.labels.clear();
    for (size_t i = 0; named && i < outputs; ++i) {
      model.labels.push_back("LABEL_" + std::to_string(i));
    }
  }
  TRY_VOID(VerifyModel(model));
  return model;
}

}  // namespace

bool IsPeft(const std::string& directory) { return FileExists(directory + "/adapter_config.json"); }

Result<Model> ImportPeft(const std::string& directory, const Model& base,
                         std::optional<Task> task) {
  TRY(const Json json, ReadJsonObject(directory + "/adapter_config.json"));
  TRY(const StoredTensors stored, OpenTensors(directory));
  Result<Model> model = Read(json, stored, base, task);
  if (!model) return std::move(model).error().In(directory);
  return model;
}

}  // namespace thimble
