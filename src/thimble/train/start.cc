#include "thimble/train/start.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "thimble/base/file.h"
#include "thimble/formats/huggingface/tokenizer_files.h"
#include "thimble/formats/import.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/models/architecture.h"
#include "thimble/models/presets.h"
#include "thimble/passes/replace_head.h"
#include "thimble/train/initializer.h"

namespace thimble::train {
namespace {

using Json = nlohmann::json;

std::string PresetNames() {
  std::string names;
  for (const Preset& preset : AllPresets()) {
    names += (names.empty() ? "" : ", ") + std::string(preset.name);
  }
  return names;
}

bool IsDirectory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

// The configuration that `model` names, or null where it is a stored model.
Result<Json> Configuration(const StartOptions& options) {
  Json config;
  if (const Preset* preset = FindPreset(options.model)) {
    config = Json::parse(preset->config);
  } else if (options.model.ends_with(".json")) {
    TRY(const std::string text, ReadFile(options.model, size_t{1} << 24));
    config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!config.is_object()) return InvalidData(options.model + ": it is not a JSON object");
  } else if (FileExists(options.model) || IsDirectory(options.model)) {
    return Json();
  } else {
    return NotFound("there is no model '" + options.model +
                    "': give a .thimble file, a Hugging Face directory, a config.json or one of " +
                    PresetNames());
  }
  for (const std::string& assignment : options.overrides) {
    TRY_VOID(OverrideConfig(config, assignment));
  }
  return config;
}

Result<TokenizerSpec> VocabularyTokenizer(const StartOptions& options) {
  if (options.vocabulary.empty()) {
    return InvalidArgument(
        "a model that starts from scratch needs --vocab vocab.txt (thimble vocab "
        "makes one from your texts)");
  }
  TRY(const std::string pieces, ReadFile(options.vocabulary));
  TokenizerSettings settings;
  settings.lower_case = !options.cased;
  if (options.keep_accents) settings.strip_accents = false;
  Result<TokenizerSpec> spec = TokenizerFromVocabulary(pieces, settings);
  if (!spec.has_value()) return std::move(spec).error().In(options.vocabulary);
  return spec;
}

int64_t HeadLabels(const StartOptions& options) {
  return options.labels.empty() ? 1 : static_cast<int64_t>(options.labels.size());
}

bool HeadOfArchitecture(Task task) { return task == Task::kMaskedLm || task == Task::kPretraining; }

NewHead HeadOf(const StartOptions& options) {
  return {.task = options.task,
          .labels = HeadLabels(options),
          .pool = options.pool,
          .spread = options.spread,
          .seed = options.seed};
}

Result<Start> FromConfiguration(Json config, const StartOptions& options) {
  Start start;
  Model& model = start.model;
  TRY(model.tokenizer, VocabularyTokenizer(options));
  config["vocab_size"] = model.tokenizer.pieces.size();
  model.architecture = config.value("model_type", "");
  // Pooled heads that are asked for are put on the features afterwards.
  const bool by_architecture = !options.pool.has_value();
  const BuildOptions build{.task = by_architecture ? options.task : Task::kFeatures,
                           .labels = HeadLabels(options)};
  RandomWeights random(options.seed, config.value("initializer_range", options.spread));
  if (options.inherit.empty()) {
    TRY(model.graph, BuildGraph(config, build, random));
  } else {
    TRY(const Model from, OpenModel(options.inherit));
    const int layers = config.value("num_hidden_layers", config.value("n_layers", 0));
    TRY(InheritedWeights inherited,
        InheritedWeights::Create(from.graph, layers, {options.layers}, std::move(random)));
    TRY(model.graph, BuildGraph(config, build, inherited));
    start.inherited = inherited.inherited();
    if (start.inherited == 0) {
      return InvalidArgument(options.inherit +
                             ": nothing in it has the name and size of a weight of " +
                             options.model);
    }
  }
  if (!by_architecture) {
    TRY(model.graph, ReplaceHead(model.graph, HeadOf(options)));
  }
  model.tokenizer.model_max_length = model.graph.max_sequence_length;
  start.new_head = true;
  return start;
}

Result<Start> FromStored(const StartOptions& options) {
  if (!options.overrides.empty() || !options.inherit.empty()) {
    return InvalidArgument("--set and --inherit are for presets and configurations; " +
                           options.model + " is a stored model");
  }
  if (!options.vocabulary.empty()) {
    return InvalidArgument("--vocab is for presets and configurations; " + options.model +
                           " has its own tokenizer");
  }
  Start start;
  TRY(start.model, OpenModel(options.model));
  start.stored = start.model;
  const bool same = start.model.task == options.task && start.model.labels == options.labels &&
                    !options.pool.has_value();
  if (same) return start;
  if (HeadOfArchitecture(options.task)) {
    // A Hugging Face directory may have that head although its configuration names another.
    TRY(start.model, OpenModel(options.model, options.task));
    start.stored = start.model;
    if (start.model.task != options.task) {
      return Unsupported(options.model + ": it has no head for the task " +
                         std::string(TaskName(options.task)));
    }
    return start;
  }
  TRY(start.model.graph, ReplaceHead(start.model.graph, HeadOf(options)));
  start.new_head = true;
  return start;
}

}  // namespace

Result<Model> OpenModel(const std::string& path, std::optional<Task> task) {
  if (!IsDirectory(path)) return ReadThimble(path);
  TRY(ImportedModel imported, ImportFrom(path, {.task = task}));
  return std::move(imported.model);
}

Result<Start> StartFrom(const StartOptions& options) {
  TRY(Json config, Configuration(options));
  Result<Start> start =
      config.is_null() ? FromStored(options) : FromConfiguration(std::move(config), options);
  if (!start.has_value()) return start;
  start->model.task = options.task;
  start->model.labels = options.labels;
  start->model.thresholds.clear();
  if (start->model.tokenizer.kind == TokenizerKind::kNone) {
    return Unsupported(options.model + ": it has no tokenizer, so it cannot be trained on text");
  }
  TRY_VOID(VerifyModel(start->model));
  return start;
}

}  // namespace thimble::train
