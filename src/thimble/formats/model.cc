#include "thimble/formats/model.h"

namespace thimble {
namespace {

// Tasks whose logits are named one by one.
bool HasLabels(Task task) {
  return task == Task::kSingleLabel || task == Task::kMultiLabel || task == Task::kRegression ||
         task == Task::kTokenLabels;
}

Status CheckLogits(const Model& model, const ValueType& logits) {
  const bool per_token = model.task == Task::kTokenLabels || model.task == Task::kAnswers ||
                         model.task == Task::kMaskedLm || model.task == Task::kPretraining;
  const std::string task(TaskName(model.task));
  if (logits.element != Element::kFloat32 ||
      logits.rows != (per_token ? Rows::kTokens : Rows::kSequences)) {
    return InvalidData("the output 'logits' of a " + task + " model must have one row per " +
                       (per_token ? "token" : "sequence"));
  }
  const auto width = static_cast<size_t>(logits.width);
  if (model.task == Task::kAnswers && width != 2) {
    return InvalidData("an answers model needs two logits, start and end, not " +
                       std::to_string(width));
  }
  if (HasLabels(model.task) && !model.labels.empty() && model.labels.size() != width) {
    return InvalidData("there are " + std::to_string(model.labels.size()) + " labels for " +
                       std::to_string(width) + " logits");
  }
  if (!model.thresholds.empty() && model.thresholds.size() != width) {
    return InvalidData("there are " + std::to_string(model.thresholds.size()) + " thresholds for " +
                       std::to_string(width) + " logits");
  }
  return {};
}

}  // namespace

Status VerifyModel(const Model& model) {
  if (model.task == Task::kFeatures) return {};
  const GraphOutput* logits = model.graph.FindOutput("logits");
  if (logits == nullptr) {
    return InvalidData("a " + std::string(TaskName(model.task)) +
                       " model needs an output named 'logits'");
  }
  return CheckLogits(model, model.graph.value(logits->value).type);
}

}  // namespace thimble
