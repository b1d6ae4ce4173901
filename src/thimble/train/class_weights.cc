#include "thimble/train/class_weights.h"

#include <algorithm>
#include <cmath>

namespace thimble::train {

std::vector<float> LabelShares(const Dataset& data) {
  std::vector<double> counts(data.labels.size(), 0.0);
  double total = 0;
  for (const Example& row : data.examples) {
    const auto& labels = data.task == Task::kTokenLabels ? row.word_labels : row.labels;
    for (const int32_t label : labels) counts[static_cast<size_t>(label)] += 1;
    total += data.task == Task::kTokenLabels ? static_cast<double>(labels.size()) : 1.0;
  }
  std::vector<float> shares;
  for (const double count : counts) {
    shares.push_back(static_cast<float>(std::max(count, 0.5) / std::max(total, 1.0)));
  }
  return shares;
}

std::optional<ClassWeighting> ClassWeightingFromName(std::string_view name) {
  if (name == "none") return ClassWeighting::kNone;
  if (name == "balanced") return ClassWeighting::kBalanced;
  if (name == "sqrt") return ClassWeighting::kSqrt;
  return std::nullopt;
}

std::vector<float> ClassWeights(const Dataset& data, ClassWeighting weighting) {
  if (weighting == ClassWeighting::kNone) return {};
  const bool several = data.task == Task::kMultiLabel;
  std::vector<double> weights;
  double mean = 0;
  for (const float share_of_rows : LabelShares(data)) {
    const auto share = static_cast<double>(share_of_rows);
    double w = several ? (1 - share) / share : 1 / share;
    if (weighting == ClassWeighting::kSqrt) w = std::sqrt(w);
    if (several) w = std::clamp(w, 1.0, 20.0);
    weights.push_back(w);
    mean += w * share;
  }
  std::vector<float> factors;
  for (const double w : weights) factors.push_back(static_cast<float>(several ? w : w / mean));
  return factors;
}

}  // namespace thimble::train
