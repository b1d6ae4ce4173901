#include "thimble/formats/tflite/tflite_import.h"

#include <algorithm>
#include <filesystem>

#include "thimble/base/file.h"
#include "thimble/base/sha256.h"
#include "thimble/formats/tflite/graph_reader.h"
#include "thimble/formats/tflite/tflite_text.h"

namespace thimble {
namespace {

constexpr size_t kLargestTextFile = size_t{64} << 20;

// Where a file leaves the length open it is read at one that no width is a multiple of; tables of fewer
// positions need a smaller one.
constexpr int64_t kPretendedTokens[] = {509, 251, 127, 61, 31, 13};

bool IsOpen(const TfliteFile& file) {
  return std::any_of(file.inputs.begin(), file.inputs.end(), [&](int32_t input) {
    const Shape& shape = file.tensors[static_cast<size_t>(input)].signature;
    return !shape.empty() && shape.back() < 0;
  });
}

Result<TfliteGraph> ReadGraph(const TfliteFile& file) {
  if (!IsOpen(file)) return TfliteGraphReader(file, 0).Read();
  std::optional<Error> first;
  for (const int64_t tokens : kPretendedTokens) {
    Result<TfliteGraph> graph = TfliteGraphReader(file, tokens).Read();
    if (graph) return graph;
    if (!first) first = graph.error();
  }
  return *first;
}

bool PerSequenceLabels(Task task) {
  return task == Task::kSingleLabel || task == Task::kMultiLabel || task == Task::kRegression;
}

Status SetTask(const TfliteGraph& read, const TfliteImportOptions& options, Model& model) {
  model.task = options.task.value_or(read.task);
  if (model.task == read.task) return {};
  if (PerSequenceLabels(model.task) && PerSequenceLabels(read.task)) return {};
  const bool answers = model.task == Task::kAnswers && read.task == Task::kTokenLabels;
  if (answers) return {};
  if (model.task == Task::kFeatures) {  // without the head
    std::erase_if(model.graph.outputs, [](const GraphOutput& o) { return o.name == "logits"; });
    if (!model.graph.outputs.empty()) return {};
  }
  return InvalidArgument("--task " + std::string(TaskName(model.task)) +
                         " does not fit the file, whose outputs are those of " +
                         std::string(TaskName(read.task)));
}

Status SetLabels(const AssociatedFiles& files, const TfliteImportOptions& options,
                 TfliteImport& to) {
  Model& model = to.model;
  const GraphOutput* logits = model.graph.FindOutput("logits");
  const bool named = PerSequenceLabels(model.task) || model.task == Task::kTokenLabels;
  if (!named || logits == nullptr) {
    if (!options.labels.empty()) {
      return InvalidArgument("--labels is for classifiers; this is a model for " +
                             std::string(TaskName(model.task)));
    }
    return {};
  }
  const auto count = static_cast<size_t>(model.graph.value(logits->value).type.width);
  if (!options.labels.empty()) {
    TRY(const std::string text, ReadFile(options.labels, kLargestTextFile));
    Result<std::vector<std::string>> labels = ParseLabels(text);
    if (!labels) return std::move(labels).error().In(options.labels);
    if (labels->size() != count) {
      return InvalidData(options.labels + ": has " + std::to_string(labels->size()) +
                         " labels, the model " + std::to_string(count) + " logits");
    }
    model.labels = *std::move(labels);
    return {};
  }
  if (const auto name = FindLabels(files, count)) {
    TRY(model.labels, ParseLabels(files.at(*name)));
    return {};
  }
  if (model.task == Task::kRegression) return {};
  for (size_t i = 0; i < count; ++i) model.labels.push_back("LABEL_" + std::to_string(i));
  to.warnings.push_back(
      "the file names no labels: they are called LABEL_0, LABEL_1, ...; "
      "name them with --labels FILE");
  return {};
}

int64_t WordRows(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    if (node.op == OpKind::kEmbedding && graph.value(node.inputs[0]).name == kInputIds) {
      return node.weights[0].tensor.dim(0);
    }
  }
  return 0;
}

Status SetTokenizer(const AssociatedFiles& files, const TfliteImportOptions& options,
                    TfliteImport& to) {
  std::string place = options.vocabulary, text;
  if (!place.empty()) {
    TRY(text, ReadFile(place, kLargestTextFile));
  } else if (const auto name = FindVocabulary(files)) {
    place = "associated file " + *name;
    text = files.at(*name);
  } else {
    to.warnings.push_back(
        "the file has no WordPiece vocabulary: the model takes token ids only; "
        "name one with --vocab FILE");
    return {};
  }
  Result<TokenizerSpec> spec = VocabularyTokenizer(text, options.lower_case);
  if (!spec) return std::move(spec).error().In(place);
  spec->model_max_length = to.model.graph.max_sequence_length;
  const Result<Tokenizer> tokenizer = Tokenizer::Create(*spec);
  if (!tokenizer) return Error(tokenizer.error()).In(place);
  const auto rows = static_cast<size_t>(WordRows(to.model.graph));
  if (spec->pieces.size() > rows) {
    return InvalidData(place + ": has " + std::to_string(spec->pieces.size()) +
                       " pieces, the model embeds " + std::to_string(rows));
  }
  to.model.tokenizer = *std::move(spec);
  return {};
}

}  // namespace

Result<TfliteImport> ImportTflite(std::span<const std::byte> bytes,
                                  const TfliteImportOptions& options) {
  TRY(const TfliteFile file, TfliteFile::Parse(bytes));
  TRY(const AssociatedFiles files, ReadAssociatedFiles(bytes));
  TRY(TfliteGraph read, ReadGraph(file));
  TfliteImport import;
  import.model.architecture = "tflite";
  import.model.graph = std::move(read.graph);
  import.warnings = std::move(read.warnings);
  TRY_VOID(SetTask(read, options, import.model));
  TRY_VOID(SetLabels(files, options, import));
  TRY_VOID(SetTokenizer(files, options, import));
  TRY_VOID(VerifyModel(import.model));
  return import;
}

Result<TfliteImport> ImportTflite(const std::string& path, const TfliteImportOptions& options) {
  TRY(const MappedFile file, MappedFile::Open(path));
  Result<TfliteImport> import = ImportTflite(file.bytes(), options);
  if (!import) {
    if (import.error().code() == ErrorCode::kInvalidArgument) return import;
    return std::move(import).error().In(path);
  }
  Sha256 digest;
  digest.Update(file.bytes());
  import->model.provenance = {{"source", std::filesystem::path(path).filename().string()},
                              { "source_sha256",
                                std::move(digest).HexDigest() }};
  return import;
}

}  // namespace thimble
