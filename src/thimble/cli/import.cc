// thimble import: a checkpoint directory, or a file of another runtime, to one .thimble file.
#include "thimble/formats/import.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "thimble/base/file.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/cli/weights.h"
#include "thimble/formats/huggingface/peft.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"

namespace thimble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ImportOptions {
  std::string source, base, output, weights, task, vocabulary, labels;
  bool cased = false, uncased = false, json = false;
};

constexpr size_t kShownTensors = 3;

Json Summary(const ImportOptions& options, const ImportedModel& imported, size_t file_bytes) {
  const Model& model = imported.model;
  const GraphCost cost = ComputeCost(model.graph, {});
  Json provenance = Json::object();
  for (const auto& [key, text] : model.provenance) provenance[key] = text;
  return {{"file", options.output},
          {"file_bytes", file_bytes},
          {"architecture", model.architecture},
          {"task", TaskName(model.task)},
          {"labels", model.labels},
          {"parameters", cost.parameters},
          {"max_sequence_length", model.graph.max_sequence_length},
          {"tokenizer", model.tokenizer.kind != TokenizerKind::kNone},
          {"unused_tensors", imported.unused_tensors},
          {"warnings", imported.warnings},
          {"provenance", std::move(provenance)}};
}

std::string Human(const Json& summary, const ImportedModel& imported) {
  const Model& model = imported.model;
  std::string text = summary["file"].get<std::string>() + ": " + model.architecture + ", " +
                     std::string(TaskName(model.task));
  if (!model.labels.empty()) {
    text += " (" + std::to_string(model.labels.size()) +
            (model.labels.size() == 1 ? " label)" : " labels)");
  }
  text += ", " + CountText(summary["parameters"].get<double>()) + " parameters, " +
          BytesText(summary["file_bytes"].get<double>());
  const auto& unused = imported.unused_tensors;
  if (!unused.empty()) {
    text += "\nnot used: " + std::to_string(unused.size()) + " tensors of the checkpoint (";
    for (size_t i = 0; i < std::min(unused.size(), kShownTensors); ++i) {
      text += (i == 0 ? "" : ", ") + unused[i];
    }
    text += unused.size() > kShownTensors ? ", ...)" : ")";
  }
  return text;
}

std::optional<Task> TaskOf(const ImportOptions& options) {
  return options.task.empty() ? std::nullopt : TaskFromName(options.task);
}

Result<ImportedModel> ImportModel(const ImportOptions& options) {
  std::optional<bool> lower_case;
  if (options.cased || options.uncased) lower_case = options.uncased;
  TRY(ImportedModel imported, ImportFrom(options.source, {.task = TaskOf(options),
                                                          .vocabulary = options.vocabulary,
                                                          .labels = options.labels,
                                                          .lower_case = lower_case}));
  TRY_VOID(CheckInterrupt());
  imported.model.provenance.emplace_back("created_by", "thimble " THIMBLE_VERSION);
  TRY_VOID(ConvertWeights(imported.model, options.weights));
  TRY_VOID(CheckInterrupt());
  TRY_VOID(WriteThimble(imported.model, options.output));
  return imported;
}

Result<ImportedModel> ImportAdapter(const ImportOptions& options) {
  if (!options.weights.empty()) {
    return InvalidArgument("--weights: an adapter is float32, whatever type its base has");
  }
  TRY(const Model base, ReadThimble(options.base));
  ImportedModel imported;
  TRY(imported.model, ImportPeft(options.source, base, TaskOf(options)));
  imported.model.provenance.emplace_back("adapter_created_by", "thimble " THIMBLE_VERSION);
  TRY_VOID(WriteAdapter(imported.model, base, options.output));
  return imported;
}

Status RunImport(const ImportOptions& options) {
  const bool adapter = IsPeft(options.source);
  if (adapter == options.base.empty()) {
    return InvalidArgument(adapter ? options.source +
                                         " is an adapter: name its base with --base FILE.thimble"
                                   : "--base is for adapters, and " + options.source +
                                         " is none: it has no adapter_config.json");
  }
  TRY(const ImportedModel imported, adapter ? ImportAdapter(options) : ImportModel(options));

  for (const std::string& warning : imported.warnings) Note(warning);
  TRY(const MappedFile file, MappedFile::Open(options.output));
  const Json summary = Summary(options, imported, file.bytes().size());
  Output out;
  TRY_VOID(out.Line(options.json ? DumpJson(summary) : Human(summary, imported)));
  return out.Flush();
}

std::vector<std::string> TaskNames() {
  return {
#define TASK(enumerator, name) name,
#include "thimble/graph/tasks.inc"
#undef TASK
  };
}

}  // namespace

Action SetupImport(CLI::App& app) {
  auto options = std::make_shared<ImportOptions>();
  app.add_option(
         "SOURCE", options->source,
         "a directory as Hugging Face's save_pretrained writes it, an adapter of its PEFT library, "
         "a TensorFlow.js model, or a .tflite or .onnx file with a transformer of text")
      ->required();
  app.add_option("-o,--output", options->output, "the .thimble file to write")
      ->required()
      ->type_name("FILE");
  AddWeightsOption(app, options->weights);
  app.add_option("--base", options->base,
                 "the .thimble file that an adapter of Hugging Face's PEFT belongs to")
      ->type_name("FILE");
  std::string tasks;
  for (const std::string& name : TaskNames()) tasks += (tasks.empty() ? "" : ", ") + name;
  app.add_option("--task", options->task, "build this head instead of the configured one: " + tasks)
      ->check(CLI::IsMember(TaskNames()).description(""))
      ->type_name("TASK");
  app.add_option(
         "--vocab", options->vocabulary,
         "of a .tflite file: the vocab.txt of its tokenizer, in place of the one in the file")
      ->type_name("FILE");
  app.add_option("--labels", options->labels,
                 "of a .tflite file: its labels, one a line, in place of those in the file")
      ->type_name("FILE");
  CLI::Option* cased = app.add_flag(
      "--cased", options->cased, "of a .tflite file: text keeps its capital letters and accents");
  app.add_flag("--uncased", options->uncased,
               "of a .tflite file: text is lowered first (without either: as the vocabulary looks)")
      ->excludes(cased);
  app.add_flag("--json", options->json, "one JSON document that says what was written");
  return [options] { return RunImport(*options); };
}

}  // namespace thimble::cli
