// Extractive answers: exact match and F1, and with unanswerable questions SQuAD 2.0's best threshold.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "thimble/metrics/counts.h"
#include "thimble/metrics/scorer.h"
#include "thimble/metrics/squad.h"

namespace thimble {
namespace {

// Of one question, once with the answer that the model found and once with none.
struct Judged {
  double exact = 0, f1 = 0;  // of the answer text
  bool unanswerable = false;
  double no_answer_margin = 0;  // above 0: the model prefers none

  bool answers() const { return no_answer_margin <= 0; }
};

struct Best {
  double value = 0, threshold = 0;
};

class Answers : public Scorer {
 public:
  explicit Answers(std::vector<Judged> judged) : judged_(std::move(judged)) {
    names_ = {"f1", "exact_match"};
    has_unanswerable_ =
        std::any_of(judged_.begin(), judged_.end(), [](const Judged& j) { return j.unanswerable; });
    if (!has_unanswerable_) return;
    names_.insert(names_.end(), {"has_answer_f1", "has_answer_exact_match", "no_answer_accuracy",
                                 "best_f1", "best_f1_threshold", "best_exact_match"});
    order_.resize(judged_.size());
    std::iota(order_.begin(), order_.end(), 0u);
    std::stable_sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
      return judged_[a].no_answer_margin < judged_[b].no_answer_margin;
    });
  }

  void Score(std::span<const uint32_t> weights, std::span<double> values) override {
    double exact = 0, f1 = 0, none_right = 0, answerable = 0, unanswerable = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const Judged& j = judged_[i];
      const double weight = weights[i];
      if (j.unanswerable) {
        unanswerable += weight;
        // The text may be empty by itself.
        none_right += weight * (j.answers() ? j.exact : 1);
      } else {
        answerable += weight;
        if (j.answers()) exact += weight * j.exact, f1 += weight * j.f1;
      }
    }
    const double all = answerable + unanswerable;
    values[0] = Quotient(f1 + none_right, all);
    values[1] = Quotient(exact + none_right, all);
    if (!has_unanswerable_) return;
    values[2] = Quotient(f1, answerable);
    values[3] = Quotient(exact, answerable);
    values[4] = Quotient(none_right, unanswerable);
    const Best best = Sweep(weights, &Judged::f1);
    values[5] = Quotient(best.value, all);
    values[6] = best.threshold;
    values[7] = Quotient(Sweep(weights, &Judged::exact).value, all);
  }

 private:
  // From "no question has an answer" on, questions are answered in the order of the margin.
  Best Sweep(std::span<const uint32_t> weights, double Judged::*score) const {
    double sum = 0;
    for (size_t i = 0; i < weights.size(); ++i) sum += judged_[i].unanswerable ? weights[i] : 0;
    Best best{.value = sum, .threshold = judged_[order_[0]].no_answer_margin - 1};
    for (size_t at = 0; at < order_.size(); ++at) {
      const Judged& j = judged_[order_[at]];
      sum += weights[order_[at]] * (j.*score - (j.unanswerable ? 1 : 0));
      const bool last_of_equals =
          at + 1 == order_.size() || judged_[order_[at + 1]].no_answer_margin != j.no_answer_margin;
      if (last_of_equals && sum > best.value) best = {sum, j.no_answer_margin};
    }
    return best;
  }

  std::vector<Judged> judged_;
  bool has_unanswerable_ = false;
  std::vector<uint32_t> order_;  // by margin
};

}  // namespace

ScorerOrError AnswerScorer(const Dataset& data, std::span<const TaskOutput> outputs) {
  std::vector<Judged> judged;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TaskOutput& output = outputs[i];
    const std::vector<AnswerText>& gold = data.examples[i].answers;
    const double margin = output.no_answer_score - output.answer_score;
    if (std::isnan(margin)) return BlameExample(data, i, "has a score that is not a number");
    const bool unanswerable = data.examples[i].unanswerable || gold.empty();
    judged.push_back({.exact = ExactMatch(output.answer, gold),
                      .f1 = AnswerF1(output.answer, gold),
                      .unanswerable = unanswerable,
                      .no_answer_margin = margin});
  }
  // Without unanswerable questions every question is to be answered.
  if (std::none_of(judged.begin(), judged.end(), [](const Judged& j) { return j.unanswerable; })) {
    for (Judged& j : judged) j.no_answer_margin = 0;
  }
  return std::unique_ptr<Scorer>(std::make_unique<Answers>(std::move(judged)));
}

}  // namespace thimble
