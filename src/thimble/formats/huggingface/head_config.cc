#include "thimble/formats/huggingface/head_config.h"

#include <algorithm>
#include <utility>

#include "thimble/base/quote.h"

namespace thimble {
namespace {

struct Head {
  std::string_view suffix;  // of the name of the model's class
  Task task;
};
constexpr Head kHeads[] = {
    {"ForSequenceClassification", Task::kSingleLabel},
    {"ForTokenClassification", Task::kTokenLabels},
    {"ForQuestionAnswering", Task::kAnswers},
    {"ForMaskedLM", Task::kMaskedLm},
    {"ForPreTraining", Task::kPretraining},
};

struct ProblemType {
  std::string_view name;
  Task task;
};
constexpr ProblemType kProblemTypes[] = {
    {"single_label_classification", Task::kSingleLabel},
    {"multi_label_classification", Task::kMultiLabel},
    {"regression", Task::kRegression},
};

Result<Task> TaskOfArchitecture(std::string_view architecture) {
  for (const Head& head : kHeads) {
    if (architecture.ends_with(head.suffix)) return head.task;
  }
  if (architecture.ends_with("Model") && !architecture.ends_with("HeadModel"))
    return Task::kFeatures;
  return Unsupported(
      "\"architectures\" is " + Quoted(architecture) +
      "; known are models for sequence and token classification, question answering, "
      "masked language modelling, pretraining, and without a head");
}

// Tensors that only one head has.
Result<Task> TaskOfTensors(const StoredTensors& tensors) {
  if (tensors.contains("qa_outputs.weight")) return Task::kAnswers;
  if (tensors.contains("cls.seq_relationship.weight")) return Task::kPretraining;
  if (tensors.contains("cls.predictions.bias")) return Task::kMaskedLm;
  if (tensors.contains("classifier.weight")) {
    return InvalidData(
        "names no architecture, and the checkpoint's classifier may be one of texts or of tokens: "
        "add "
        "\"architectures\": [\"...ForSequenceClassification\"] or [\"...ForTokenClassification\"]");
  }
  return Task::kFeatures;
}

Result<Task> FindTask(const Json& config, const StoredTensors& tensors) {
  const Json* architectures = Find(config, "architectures");
  if (architectures == nullptr) return TaskOfTensors(tensors);
  const bool is_list = architectures->is_array() && !architectures->empty();
  if (!is_list || !architectures->front().is_string()) {
    return InvalidData("\"architectures\" must be a list of names");
  }
  return TaskOfArchitecture(architectures->front().get_ref<const std::string&>());
}

// {"0": "negative", "1": "positive"}
Result<std::vector<std::string>> ReadLabels(const Json& config) {
  std::vector<std::string> labels;
  const Json* names = Find(config, "id2label");
  if (names == nullptr) return labels;
  if (!names->is_object() || names->empty()) {
    return InvalidData("\"id2label\" must be an object with a name for each id");
  }
  labels.resize(names->size());
  std::vector<bool> seen(names->size());
  for (const auto& [key, name] : names->items()) {
    const auto id = KeyAsIndex(key, static_cast<int64_t>(labels.size()));
    if (!id || seen[static_cast<size_t>(*id)]) {
      return InvalidData("\"id2label\" has " + std::to_string(labels.size()) + " names, but id " +
                         Quoted(key) + " is not one of the first as many");
    }
    const std::string* text = name.get_ptr<const std::string*>();
    if (text == nullptr && !name.is_primitive()) return InvalidData("\"id2label\" must have texts");
    seen[static_cast<size_t>(*id)] = true;
    labels[static_cast<size_t>(*id)] = text != nullptr ? *text : name.dump();
  }
  return labels;
}

// Refines kSingleLabel by what the configuration says the outputs are.
Status ApplyProblemType(const Json& config, HeadConfig& head) {
  TRY(const std::optional<std::string> name, FindText(config, "problem_type"));
  head.one_label_is_regression = !name.has_value();
  if (!name) return {};
  const auto* found = std::ranges::find(kProblemTypes, std::string_view(*name), &ProblemType::name);
  if (found == std::end(kProblemTypes)) {
    return InvalidData("\"problem_type\" is " + Quoted(*name) +
                       ", must be regression, single_label_classification or "
                       "multi_label_classification");
  }
  head.task = found->task;
  return {};
}

}  // namespace

std::string_view ClassSuffix(Task task) {
  if (task == Task::kMultiLabel || task == Task::kRegression) task = Task::kSingleLabel;
  const auto* found = std::ranges::find(kHeads, task, &Head::task);
  return found == std::end(kHeads) ? "Model" : found->suffix;
}

std::optional<std::string_view> ProblemTypeName(Task task) {
  const auto* found = std::ranges::find(kProblemTypes, task, &ProblemType::task);
  if (found == std::end(kProblemTypes)) return std::nullopt;
  return found->name;
}

Result<HeadConfig> ReadHeadConfig(const Json& config, const StoredTensors& tensors,
                                  std::optional<Task> task) {
  HeadConfig head;
  if (task) {
    head.task = *task;
  } else {
    TRY(head.task, FindTask(config, tensors));
    if (head.task == Task::kSingleLabel) TRY_VOID(ApplyProblemType(config, head));
  }
  const bool has_labels = head.task == Task::kSingleLabel || head.task == Task::kMultiLabel ||
                          head.task == Task::kRegression || head.task == Task::kTokenLabels;
  if (!has_labels) return head;
  TRY(head.label_names, ReadLabels(config));
  if (!head.label_names.empty()) {
    head.labels = static_cast<int64_t>(head.label_names.size());
  } else {
    TRY(head.labels, FindInteger(config, "num_labels"));
  }
  return head;
}

}  // namespace thimble
