// One label per example: accuracy, the averages of F1, Matthews, and what an out-of-scope label adds.
#include <algorithm>
#include <cmath>

#include "thimble/metrics/counts.h"
#include "thimble/metrics/scorer.h"

namespace thimble {
namespace {

class SingleLabel : public Scorer {
 public:
  SingleLabel(const Dataset& data, std::vector<uint32_t> gold, std::vector<uint32_t> predicted)
      : data_(data), gold_(std::move(gold)), predicted_(std::move(predicted)) {
    names_ = {"accuracy",     "macro_f1",        "micro_f1", "weighted_f1",
              "macro_recall", "macro_precision", "matthews"};
    if (data.labels.size() == 2) names_.push_back("f1");
    const auto oos = std::find(data.labels.begin(), data.labels.end(), "oos");
    if (oos != data.labels.end()) {
      oos_ = static_cast<size_t>(oos - data.labels.begin());
      names_.insert(names_.end(), {"in_scope_accuracy", "oos_recall", "oos_precision"});
    }
    // A column more for labels that only the model knows.
    counts_.resize(data.labels.size() + 1);
  }

  void Score(std::span<const uint32_t> weights, std::span<double> values) override {
    Count(weights);
    const size_t labels = data_.labels.size();
    Counts all;
    double f1 = 0, weighted = 0, recall = 0, precision = 0;
    size_t met = 0, in_gold = 0;
    for (size_t i = 0; i < labels; ++i) {
      const Counts& c = counts_[i];
      all.Add(c);
      met += c.gold + c.predicted > 0;
      in_gold += c.gold > 0;
      f1 += c.f1();
      precision += c.precision();
      recall += c.recall();
      weighted += static_cast<double>(c.gold) * c.f1();
    }
    all.Add(counts_[labels]);
    size_t next = 0;
    values[next++] = all.recall();
    values[next++] = Quotient(f1, static_cast<double>(met));
    values[next++] = all.f1();
    values[next++] = Quotient(weighted, static_cast<double>(all.gold));
    values[next++] = Quotient(recall, static_cast<double>(in_gold));
    values[next++] = Quotient(precision, static_cast<double>(met));
    values[next++] = Matthews(all);
    if (labels == 2) values[next++] = counts_[1].f1();
    if (oos_ < labels) {
      const Counts& oos = counts_[oos_];
      values[next++] = Quotient(static_cast<double>(all.right - oos.right),
                                static_cast<double>(all.gold - oos.gold));
      values[next++] = oos.recall();
      values[next++] = oos.precision();
    }
  }

  void Describe(TaskMetrics& out) const override {
    const size_t labels = data_.labels.size();
    const bool others =
        std::any_of(predicted_.begin(), predicted_.end(), [&](uint32_t p) { return p >= labels; });
    out.confusion.assign(labels, std::vector<size_t>(labels + others));
    std::vector<Counts> counts(labels + 1);
    for (size_t i = 0; i < gold_.size(); ++i) {
      ++out.confusion[gold_[i]][predicted_[i]];
      ++counts[gold_[i]].gold;
      ++counts[predicted_[i]].predicted;
      counts[gold_[i]].right += gold_[i] == predicted_[i];
    }
    for (size_t i = 0; i < labels; ++i) {
      out.per_label.push_back({data_.labels[i], counts[i].precision(), counts[i].recall(),
                               counts[i].f1(), counts[i].gold});
    }
  }

 private:
  void Count(std::span<const uint32_t> weights) {
    std::fill(counts_.begin(), counts_.end(), Counts{});
    for (size_t i = 0; i < weights.size(); ++i) {
      counts_[gold_[i]].gold += weights[i];
      counts_[predicted_[i]].predicted += weights[i];
      if (gold_[i] == predicted_[i]) counts_[gold_[i]].right += weights[i];
    }
  }

  // For any number of labels (Gorodkin 2004), which needs the margins of the confusion matrix only.
  double Matthews(const Counts& all) const {
    const auto n = static_cast<double>(all.gold);
    double both = 0, gold = 0, predicted = 0;
    for (const Counts& c : counts_) {
      both += static_cast<double>(c.gold) * static_cast<double>(c.predicted);
      gold += static_cast<double>(c.gold) * static_cast<double>(c.gold);
      predicted += static_cast<double>(c.predicted) * static_cast<double>(c.predicted);
    }
    return Quotient(static_cast<double>(all.right) * n - both,
                    std::sqrt((n * n - predicted) * (n * n - gold)));
  }

  const Dataset& data_;
  std::vector<uint32_t> gold_, predicted_;
  size_t oos_ = SIZE_MAX;
  std::vector<Counts> counts_;
};

}  // namespace

ScorerOrError SingleLabelScorer(const Dataset& data, std::span<const TaskOutput> outputs) {
  std::vector<uint32_t> gold, predicted;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<float>& scores = outputs[i].scores;
    const Example& example = data.examples[i];
    if (scores.empty() || scores.size() < data.known_labels) {
      return BlameExample(data, i, "has fewer scores than there are labels");
    }
    if (std::any_of(scores.begin(), scores.end(), [](float s) { return std::isnan(s); })) {
      return BlameExample(data, i, "has a score that is not a number");
    }
    if (example.labels.size() != 1) return BlameExample(data, i, "has not exactly one label");
    const auto best =
        static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
    gold.push_back(static_cast<uint32_t>(example.labels[0]));
    predicted.push_back(
        static_cast<uint32_t>(best < data.known_labels ? best : data.labels.size()));
  }
  return std::unique_ptr<Scorer>(
      std::make_unique<SingleLabel>(data, std::move(gold), std::move(predicted)));
}

}  // namespace thimble
