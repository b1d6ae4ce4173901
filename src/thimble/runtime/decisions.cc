#include "thimble/runtime/decisions.h"

#include <algorithm>

namespace thimble {

std::string LabelName(const Model& model, size_t label) {
  return label < model.labels.size() ? model.labels[label] : "LABEL_" + std::to_string(label);
}

std::vector<LabelScore> AppliedLabels(const Model& model, const Prediction& prediction) {
  const std::vector<float>& scores = prediction.scores;
  std::vector<LabelScore> applied;
  if (model.task == Task::kSingleLabel && !scores.empty()) {
    const auto best = std::max_element(scores.begin(), scores.end());
    applied.push_back({static_cast<size_t>(best - scores.begin()), *best});
  } else if (model.task == Task::kMultiLabel) {
    for (size_t i = 0; i < scores.size(); ++i) {
      const float threshold = i < model.thresholds.size() ? model.thresholds[i] : 0.5f;
      if (scores[i] >= threshold) applied.push_back({i, scores[i]});
    }
  }
  return applied;
}

Answer DecidedAnswer(const Prediction& prediction, bool may_be_none) {
  if (prediction.answers.empty()) return {};
  const Answer& best = prediction.answers[0];
  if (!may_be_none || *prediction.no_answer_logit <= best.logit) return best;
  return {.score = Sigmoid(*prediction.no_answer_logit - best.logit)};
}

}  // namespace thimble
