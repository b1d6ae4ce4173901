// Any number of labels per example.
#include <algorithm>
#include <cmath>

#include "thimble/metrics/counts.h"
#include "thimble/metrics/scorer.h"

namespace thimble {
namespace {

using Labels = std::vector<int32_t>;

class MultiLabel : public Scorer {
 public:
  MultiLabel(const Dataset& data, std::vector<Labels> predicted)
      : data_(data), predicted_(std::move(predicted)), counts_(data.labels.size()) {
    names_ = {"macro_f1", "micro_f1", "weighted_f1", "macro_recall", "macro_precision", "accuracy"};
  }

  void Score(std::span<const uint32_t> weights, std::span<double> values) override {
    const uint64_t exact = Count(weights, counts_);
    uint64_t examples = 0;
    for (const uint32_t weight : weights) examples += weight;
    Counts all;
    double f1 = 0, weighted = 0, recall = 0, precision = 0;
    for (const Counts& c : counts_) {
      all.Add(c);
      f1 += c.f1();
      recall += c.recall();
      precision += c.precision();
      weighted += static_cast<double>(c.gold) * c.f1();
    }
    const auto labels = static_cast<double>(counts_.size());
    values[0] = Quotient(f1, labels);
    values[1] = all.f1();
    values[2] = Quotient(weighted, static_cast<double>(all.gold));
    values[3] = Quotient(recall, labels);
    values[4] = Quotient(precision, labels);
    values[5] = Quotient(static_cast<double>(exact), static_cast<double>(examples));
  }

  void Describe(TaskMetrics& out) const override {
    std::vector<Counts> counts(data_.labels.size());
    Count(std::vector<uint32_t>(predicted_.size(), 1), counts);
    for (size_t i = 0; i < counts.size(); ++i) {
      out.per_label.push_back({data_.labels[i], counts[i].precision(), counts[i].recall(),
                               counts[i].f1(), counts[i].gold});
    }
  }

 private:
  // Returns how many examples have exactly the labels predicted for them.
  uint64_t Count(std::span<const uint32_t> weights, std::vector<Counts>& counts) const {
    std::fill(counts.begin(), counts.end(), Counts{});
    uint64_t exact = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (weights[i] == 0) continue;
      const Labels& gold = data_.examples[i].labels;
      for (const int32_t label : gold) counts[static_cast<size_t>(label)].gold += weights[i];
      for (const int32_t label : predicted_[i]) {
        Counts& c = counts[static_cast<size_t>(label)];
        c.predicted += weights[i];
        if (std::binary_search(gold.begin(), gold.end(), label)) c.right += weights[i];
      }
      if (gold == predicted_[i]) exact += weights[i];
    }
    return exact;
  }

  const Dataset& data_;
  std::vector<Labels> predicted_;
  std::vector<Counts> counts_;
};

}  // namespace

ScorerOrError MultiLabelScorer(const Dataset& data, std::span<const TaskOutput> outputs,
                               const std::vector<float>& thresholds) {
  if (thresholds.size() > 1 && thresholds.size() < data.known_labels) {
    return InvalidArgument(std::to_string(thresholds.size()) + " thresholds for " +
                           std::to_string(data.known_labels) + " labels");
  }
  const auto threshold = [&](size_t label) {
    return thresholds.empty() ? 0.5f : thresholds.size() == 1 ? thresholds[0] : thresholds[label];
  };
  std::vector<Labels> predicted(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<float>& scores = outputs[i].scores;
    if (scores.size() < data.known_labels) {
      return BlameExample(data, i, "has fewer scores than there are labels");
    }
    for (size_t label = 0; label < data.known_labels; ++label) {
      if (std::isnan(scores[label]))
        return BlameExample(data, i, "has a score that is not a number");
      if (scores[label] >= threshold(label)) predicted[i].push_back(static_cast<int32_t>(label));
    }
  }
  return std::unique_ptr<Scorer>(std::make_unique<MultiLabel>(data, std::move(predicted)));
}

}  // namespace thimble
