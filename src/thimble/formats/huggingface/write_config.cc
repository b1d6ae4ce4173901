#include "thimble/formats/huggingface/write_config.h"

#include <algorithm>
#include <string_view>

#include "thimble/formats/huggingface/head_config.h"
#include "thimble/models/architecture.h"

namespace thimble {
namespace {

// The type that all weights have, else the one that holds them all.
std::string_view WeightType(const std::vector<NamedTensor>& weights) {
  const auto all = [&](DType type) {
    return std::ranges::all_of(weights,
                               [&](const NamedTensor& w) { return w.tensor.dtype() == type; });
  };
  return all(DType::kF16) ? "float16" : all(DType::kBF16) ? "bfloat16" : "float32";
}

bool HasLabelNames(Task task) {
  return ProblemTypeName(task).has_value() || task == Task::kTokenLabels;
}

// Names of all outputs, as import makes them up where there are none.
std::vector<std::string> OutputNames(const Model& model) {
  std::vector<std::string> names = model.labels;
  const GraphOutput* logits = model.graph.FindOutput("logits");
  const auto count = logits == nullptr
                         ? size_t{0}
                         : static_cast<size_t>(model.graph.value(logits->value).type.width);
  while (names.size() < count) names.push_back("LABEL_" + std::to_string(names.size()));
  return names;
}

// --- The model card

std::string_view PipelineTag(Task task) {
  switch (task) {
    case Task::kSingleLabel:
    case Task::kMultiLabel:
    case Task::kRegression:
      return "text-classification";
    case Task::kTokenLabels:
      return "token-classification";
    case Task::kAnswers:
      return "question-answering";
    case Task::kMaskedLm:
    case Task::kPretraining:
      return "fill-mask";
    case Task::kFeatures:
      return "feature-extraction";
  }
  return "feature-extraction";
}

// A text from a file, fit for a cell of a table: on one line, and nothing in it that Markdown or HTML would take as its own.
std::string Cell(std::string_view text) {
  std::string cell;
  for (const char c : text) {
    if (c == '\n' || c == '\r') {
      cell += ' ';
    } else if (c == '<') {
      cell += "&lt;";
    } else {
      if (std::string_view("|\\`*_[]").find(c) != std::string_view::npos) cell += '\\';
      cell += c;
    }
  }
  return cell;
}

std::string Row(std::string_view key, std::string_view value) {
  return "| " + Cell(key) + " | " + Cell(value) + " |\n";
}
std::string TableHead(std::string_view key, std::string_view value) {
  return "\n| " + std::string(key) + " | " + std::string(value) + " |\n|---|---|\n";
}

std::string Sizes(const Model& model, const WrittenWeights& weights) {
  constexpr int64_t kTokens = 128;
  const int64_t tokens = std::min(kTokens, model.graph.max_sequence_length);
  size_t bytes = 0;
  for (const NamedTensor& w : weights.tensors) bytes += w.tensor.data().size();
  const GraphCost cost = ComputeCost(model.graph, {.tokens = tokens, .sequences = 1});
  return "\n## Size\n" + TableHead("what", "value") +
         Row("parameters", std::to_string(cost.parameters)) +
         Row("multiply-adds of a text of " + std::to_string(tokens) + " tokens",
             std::to_string(static_cast<int64_t>(cost.total.macs))) +
         Row("bytes of weights here", std::to_string(bytes)) +
         Row("type of weights", WeightType(weights.tensors)) +
         Row("longest input in tokens", std::to_string(model.graph.max_sequence_length));
}

std::string Labels(const Model& model) {
  if (model.labels.empty()) return {};
  std::string text = "\n## Labels\n";
  if (model.task == Task::kMultiLabel) {
    text +=
        "\nA label applies where its probability (sigmoid) reaches the threshold; the original "
        "library does not know "
        "these and takes 0.5.\n";
  }
  text += model.task == Task::kMultiLabel ? TableHead("label", "threshold")
                                          : TableHead("label", "output");
  for (size_t i = 0; i < model.labels.size(); ++i) {
    const float threshold = i < model.thresholds.size() ? model.thresholds[i] : 0.5f;
    text += Row(model.labels[i],
                model.task == Task::kMultiLabel ? Json(threshold).dump() : std::to_string(i));
  }
  return text;
}

// Entries of the provenance called so; empty: none.
template <class Wanted>
std::string Facts(const Model& model, const char* heading, const Wanted& wanted) {
  std::string rows;
  for (const auto& [key, text] : model.provenance) {
    if (wanted(key)) rows += Row(key, text);
  }
  return rows.empty() ? rows
                      : "\n## " + std::string(heading) + "\n" + TableHead("what", "value") + rows;
}

std::string Notes(const WrittenWeights& weights) {
  const bool named = weights.config.contains("pruned_heads");
  if (weights.notes.empty() && !named) return {};
  std::string text =
      "\n## Pruned\n\nHugging Face's classes have one width for all feed-forward networks and at "
      "least one head in every "
      "layer, so that zeros stand where this model has less; the outputs are the same.";
  if (named) {
    text +=
        " Heads that are gone are named in `pruned_heads` of config.json, which version 4 of "
        "transformers reads.";
  }
  text += "\n\n";
  for (const std::string& note : weights.notes) text += "- " + Cell(note) + "\n";
  return text;
}

}  // namespace

Result<std::string> ModelClass(const Model& model, const Json& described) {
  const auto& type = described["model_type"].get_ref<const std::string&>();
  const std::string_view prefix = HuggingFaceClassPrefix(type);
  if (prefix.empty()) return Unsupported("Hugging Face has no class for the architecture " + type);
  return std::string(prefix) + std::string(ClassSuffix(model.task));
}

Json WriteConfig(const Model& model, const WrittenWeights& weights,
                 const std::string& model_class) {
  Json config = weights.config;
  config["architectures"] = {model_class};
  config["torch_dtype"] = WeightType(weights.tensors);
  if (!config.contains("pad_token_id") && model.tokenizer.pad_id >= 0) {
    config["pad_token_id"] = model.tokenizer.pad_id;
  }
  if (const auto type = ProblemTypeName(model.task)) config["problem_type"] = *type;
  if (!HasLabelNames(model.task)) return config;
  Json names = Json::object(), ids = Json::object();
  const std::vector<std::string> labels = OutputNames(model);
  for (size_t i = 0; i < labels.size(); ++i) {
    names[std::to_string(i)] = labels[i];
    ids[labels[i]] = i;
  }
  config["id2label"] = std::move(names);
  config["label2id"] = std::move(ids);
  return config;
}

std::string WriteModelCard(const Model& model, const WrittenWeights& weights,
                           const std::string& model_class, const std::string& name) {
  const auto is_metric = [](const std::string& key) { return key.ends_with("_metrics"); };
  const auto type = weights.config["model_type"].get<std::string>();
  const bool has_tokenizer = model.tokenizer.kind != TokenizerKind::kNone;
  std::string text =
      "---\nlibrary_name: transformers\npipeline_tag: " + std::string(PipelineTag(model.task)) +
      "\ntags:\n- " + type + "\n- thimble\n---\n\n# " + Cell(name) + "\n\nA " + model_class +
      ", written by Thimble's `export`.\n\n```python\nfrom transformers import " +
      (has_tokenizer ? "AutoTokenizer, " : "") + model_class + "\n\n" +
      (has_tokenizer ? "tokenizer = AutoTokenizer.from_pretrained(\".\")\n" : "") +
      "model = " + model_class + ".from_pretrained(\".\")\n```\n";
  if (!has_tokenizer) text += "\nThere is no tokenizer: the model takes ids.\n";
  return text + Sizes(model, weights) + Labels(model) + Facts(model, "Metrics", is_metric) +
         Notes(weights) +
         Facts(model, "Provenance", [&](const std::string& key) { return !is_metric(key); });
}

}  // namespace thimble
