#include "thimble/formats/onnx/import.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "thimble/base/file.h"
#include "thimble/base/quote.h"
#include "thimble/base/sha256.h"
#include "thimble/formats/huggingface/head_config.h"
#include "thimble/formats/huggingface/json.h"
#include "thimble/formats/huggingface/tokenizer_files.h"
#include "thimble/formats/onnx/graph_reader.h"
#include "thimble/formats/onnx/metadata.h"

namespace thimble {
namespace {

bool TellsLabels(Task task) {
  return task == Task::kSingleLabel || task == Task::kMultiLabel || task == Task::kRegression ||
         task == Task::kTokenLabels;
}

// Rows of the table that ids are looked up in; 0 if there is none.
int64_t VocabularyOf(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    const bool of_ids =
        node.op == OpKind::kEmbedding && graph.value(node.inputs[0]).name == kInputIds;
    if (of_ids) return node.weights[0].tensor.dim(0);
  }
  return 0;
}

// What the outputs say by their shapes.
Task TaskOfShapes(const OnnxGraph& onnx) {
  const Graph& graph = onnx.graph;
  const GraphOutput* logits = graph.FindOutput("logits");
  if (logits == nullptr) return Task::kFeatures;
  if (onnx.has_answers) return Task::kAnswers;
  if (onnx.has_sigmoid) return Task::kMultiLabel;
  const ValueType& type = graph.value(logits->value).type;
  if (type.rows == Rows::kSequences)
    return type.width == 1 ? Task::kRegression : Task::kSingleLabel;
  if (graph.FindOutput("seq_relationship_logits") != nullptr) return Task::kPretraining;
  const int64_t vocabulary = VocabularyOf(graph);
  return vocabulary > 0 && type.width >= vocabulary ? Task::kMaskedLm : Task::kTokenLabels;
}

// Where config.json and the tokenizer lie: beside the file, or above a folder "onnx".
std::optional<std::string> FolderBeside(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::vector<std::filesystem::path> places = {folder};
  if (folder.filename() == "onnx") places.push_back(folder.parent_path());
  for (const auto& place : places) {
    const std::string name = place.empty() ? "." : place.string();
    for (const char* file : {"/config.json", "/tokenizer.json", "/vocab.txt"}) {
      if (FileExists(name + file)) return name;
    }
  }
  return std::nullopt;
}

// Task, names of labels and tokenizer as Hugging Face's files say them.
Status ReadFilesBeside(const std::string& folder, const ImportOptions& options,
                       ImportedModel& imported) {
  Model& model = imported.model;
  const std::string path = folder + "/config.json";
  TRY(const Json config, ReadOptionalJsonObject(path));
  if (Find(config, "architectures") != nullptr) {
    Result<HeadConfig> head = ReadHeadConfig(config, {}, options.task);
    if (!head) return std::move(head).error().In(path);
    Model named = model;
    named.task = head->task;
    named.labels = TellsLabels(head->task) ? head->label_names : std::vector<std::string>();
    if (head->one_label_is_regression && named.labels.size() <= 1 &&
        model.task == Task::kRegression) {
      named.task = Task::kRegression;
    }
    // A configuration of another model than this file is of no use, but no harm either.
    if (VerifyModel(named)) {
      model = std::move(named);
    } else {
      imported.warnings.push_back(
          path + " names another task or other labels than the outputs have: not used");
    }
  }
  TRY(const std::optional<std::string> type, FindText(config, "model_type"));
  if (type) model.architecture = *type;
  TRY(TokenizerFiles tokenizer, ReadTokenizerFiles(folder));
  model.tokenizer = std::move(tokenizer.spec);
  imported.warnings.insert(imported.warnings.end(), tokenizer.warnings.begin(),
                           tokenizer.warnings.end());
  return {};
}

Status Complete(ImportedModel& imported, const ImportOptions& options) {
  Model& model = imported.model;
  if (options.task) {
    model.task = *options.task;
    if (!TellsLabels(model.task)) model.labels.clear();
  }
  const GraphOutput* logits = model.graph.FindOutput("logits");
  if (model.labels.empty() && TellsLabels(model.task) && logits != nullptr) {
    const int64_t count = model.graph.value(logits->value).type.width;
    if (count > 100000) return Unsupported("has " + std::to_string(count) + " labels");
    for (int64_t i = 0; i < count; ++i) model.labels.push_back("LABEL_" + std::to_string(i));
  }
  int64_t& of_graph = model.graph.max_sequence_length;
  int64_t& of_tokenizer = model.tokenizer.model_max_length;
  if (of_tokenizer > 0) of_graph = std::min(of_graph, of_tokenizer);
  of_tokenizer = of_graph;
  const int64_t vocabulary = VocabularyOf(model.graph);
  if (vocabulary > 0 && model.tokenizer.pieces.size() > static_cast<size_t>(vocabulary)) {
    imported.warnings.push_back("the tokenizer has " +
                                std::to_string(model.tokenizer.pieces.size()) +
                                " pieces, the model embeddings for " + std::to_string(vocabulary));
  }
  return VerifyModel(model);
}

Result<ImportedModel> ImportParsed(const OnnxFile& file, const std::optional<std::string>& folder,
                                   const ImportOptions& options) {
  TRY(OnnxGraph onnx, OnnxGraphReader(file).Read());
  ImportedModel imported;
  Model& model = imported.model;
  model.graph = std::move(onnx.graph);
  imported.warnings = std::move(onnx.warnings);
  onnx.graph = model.graph;
  model.architecture = "onnx";
  model.task = TaskOfShapes(onnx);
  if (HasOnnxMetadata(file.metadata)) {
    TRY_VOID(ReadOnnxMetadata(file.metadata, model));
  } else if (folder) {
    TRY_VOID(ReadFilesBeside(*folder, options, imported));
  }
  if (model.tokenizer.kind == TokenizerKind::kNone && folder && HasOnnxMetadata(file.metadata)) {
    TRY(TokenizerFiles tokenizer, ReadTokenizerFiles(*folder));
    model.tokenizer = std::move(tokenizer.spec);
  }
  TRY_VOID(Complete(imported, options));
  return imported;
}

}  // namespace

Result<ImportedModel> ImportOnnx(std::span<const std::byte> bytes,
                                 std::shared_ptr<const void> owner, const OnnxExternalOpener& open,
                                 const ImportOptions& options) {
  TRY(const OnnxFile file, ParseOnnx(bytes, std::move(owner), open));
  return ImportParsed(file, std::nullopt, options);
}

Result<ImportedModel> ImportOnnx(const std::string& path, const ImportOptions& options) {
  TRY(const MappedFile mapped, MappedFile::Open(path));
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::map<std::string, MappedFile> opened;
  const auto open = [&](const std::string& name) -> Result<OnnxExternalFile> {
    const std::filesystem::path place = folder / name;
    // A link could still lead out.
    std::error_code error;
    const auto inside = std::filesystem::weakly_canonical(folder.empty() ? "." : folder, error);
    const auto real = std::filesystem::weakly_canonical(place, error);
    if (std::mismatch(inside.begin(), inside.end(), real.begin(), real.end()).first !=
        inside.end()) {
      return InvalidData("names external data " + Quoted(name) +
                         ": only files in the model's own folder are read");
    }
    const auto found = opened.find(name);
    if (found != opened.end())
      return OnnxExternalFile(found->second.bytes(), found->second.owner());
    TRY(const MappedFile data, MappedFile::Open(place.string()));
    opened.emplace(name, data);
    return OnnxExternalFile(data.bytes(), data.owner());
  };
  Result<OnnxFile> file = ParseOnnx(mapped.bytes(), mapped.owner(), open);
  if (!file) return std::move(file).error().In(path);
  Result<ImportedModel> imported = ImportParsed(*file, FolderBeside(path), options);
  if (!imported) return std::move(imported).error().In(path);
  auto& provenance = imported->model.provenance;
  const bool has_source =
      std::ranges::any_of(provenance, [](const auto& fact) { return fact.first == "source"; });
  if (!has_source) {
    Sha256 hash;
    hash.Update(mapped.bytes());
    for (const auto& [name, data] : opened) hash.Update(data.bytes());
    provenance.insert(provenance.begin(),
                      {{"source", std::filesystem::path(path).filename().string()},
                       {"source_sha256", std::move(hash).HexDigest()}});
  }
  std::erase_if(provenance, [](const auto& fact) { return fact.first == "created_by"; });
  return imported;
}

}  // namespace thimble
