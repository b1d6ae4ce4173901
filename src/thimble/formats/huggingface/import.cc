#include "thimble/formats/huggingface/import.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "thimble/formats/huggingface/checkpoint.h"
#include "thimble/formats/huggingface/head_config.h"
#include "thimble/formats/huggingface/json.h"
#include "thimble/formats/huggingface/tokenizer_files.h"
#include "thimble/models/architecture.h"

namespace thimble {
namespace {

// Configurations of the first years do not say what they configure; the checkpoint's names do.
void InferModelType(Json& config, const StoredTensors& tensors) {
  constexpr std::string_view kTypes[] = {
#define MODEL(model_type, Build, Describe, class_prefix) model_type,
#include "thimble/models/models.inc"
#undef MODEL
  };
  if (Find(config, "model_type") != nullptr) return;
  for (const std::string_view type : kTypes) {
    const std::string prefix = std::string(type) + ".";
    const auto first = tensors.lower_bound(prefix);
    if (first != tensors.end() && first->first.starts_with(prefix)) config["model_type"] = type;
  }
}

// Names as the configuration has them, else LABEL_0, LABEL_1, ... as Hugging Face names them.
std::vector<std::string> LabelNames(const HeadConfig& head, const Graph& graph) {
  if (!head.label_names.empty()) return head.label_names;
  std::vector<std::string> names;
  const GraphOutput* logits = graph.FindOutput("logits");
  const int64_t count = logits == nullptr ? 0 : graph.value(logits->value).type.width;
  for (int64_t i = 0; i < count; ++i) names.push_back("LABEL_" + std::to_string(i));
  return names;
}

bool HasLabels(Task task) {
  return task == Task::kSingleLabel || task == Task::kMultiLabel || task == Task::kRegression ||
         task == Task::kTokenLabels;
}

// The shorter of what the position table and the tokenizer allow holds for both.
void LimitLength(Model& model) {
  int64_t& of_graph = model.graph.max_sequence_length;
  int64_t& of_tokenizer = model.tokenizer.model_max_length;
  if (of_tokenizer > 0) of_graph = std::min(of_graph, of_tokenizer);
  of_tokenizer = of_graph;
}

std::string DirectoryName(const std::string& directory) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::absolute(directory, error).lexically_normal();
  const std::filesystem::path name =
      path.has_filename() ? path.filename() : path.parent_path().filename();
  return name.string();
}

}  // namespace

Result<HuggingFaceImport> ImportHuggingFace(const std::string& directory,
                                            const HuggingFaceOptions& options) {
  const std::string config_path = directory + "/config.json";
  TRY(Json config, ReadJsonObject(config_path));
  TRY(Checkpoint checkpoint, Checkpoint::Open(directory));
  InferModelType(config, checkpoint.tensors());
  Result<HeadConfig> head = ReadHeadConfig(config, checkpoint.tensors(), options.task);
  if (!head) return std::move(head).error().In(config_path);

  HuggingFaceImport import;
  Model& model = import.model;
  Result<Graph> graph =
      BuildGraph(config, {.task = head->task, .labels = head->labels}, checkpoint);
  if (!graph) return std::move(graph).error().In(directory);
  model.graph = *std::move(graph);
  model.architecture = Find(config, "model_type")->get<std::string>();
  model.task = head->task;
  if (HasLabels(model.task)) model.labels = LabelNames(*head, model.graph);
  if (head->one_label_is_regression && model.labels.size() == 1) model.task = Task::kRegression;

  TRY(TokenizerFiles tokenizer, ReadTokenizerFiles(directory));
  model.tokenizer = std::move(tokenizer.spec);
  import.warnings = std::move(tokenizer.warnings);
  TRY(const std::optional<int64_t> vocabulary, FindInteger(config, "vocab_size"));
  if (vocabulary && model.tokenizer.pieces.size() > static_cast<size_t>(*vocabulary)) {
    import.warnings.push_back("the tokenizer has " + std::to_string(model.tokenizer.pieces.size()) +
                              " pieces, the model embeddings for " + std::to_string(*vocabulary));
  }
  LimitLength(model);
  TRY(const std::string sha256, checkpoint.FileSha256());
  model.provenance = {{"source", DirectoryName(directory)}, {"source_sha256", sha256}};
  import.unused_tensors = checkpoint.UnusedNames();
  if (Status status = VerifyModel(model); !status) return std::move(status).error().In(directory);
  return import;
}

}  // namespace thimble
