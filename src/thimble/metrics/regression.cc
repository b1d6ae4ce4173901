// One number per example: correlations and the mean squared error.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "thimble/metrics/counts.h"
#include "thimble/metrics/scorer.h"

namespace thimble {
namespace {

using Weights = std::span<const uint32_t>;

// Of two variables where pair i counts weights[i] times; 0 where one of them is constant.
double Pearson(std::span<const double> x, std::span<const double> y, Weights weights) {
  double n = 0, mean_x = 0, mean_y = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    n += weights[i];
    mean_x += weights[i] * x[i];
    mean_y += weights[i] * y[i];
  }
  if (n == 0) return 0;
  mean_x /= n;
  mean_y /= n;
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double dx = x[i] - mean_x, dy = y[i] - mean_y;
    xx += weights[i] * dx * dx;
    yy += weights[i] * dy * dy;
    xy += weights[i] * dx * dy;
  }
  return std::clamp(Quotient(xy, std::sqrt(xx * yy)), -1.0, 1.0);
}

// Values with their order, so that ranks under any weights take one pass.
class Ranked {
 public:
  explicit Ranked(std::vector<double> values) : values_(std::move(values)), order_(values_.size()) {
    std::iota(order_.begin(), order_.end(), 0u);
    std::sort(order_.begin(), order_.end(),
              [&](uint32_t a, uint32_t b) { return values_[a] < values_[b]; });
  }

  const std::vector<double>& values() const { return values_; }

  // Mean ranks: equal values share the mean of the places they take.
  void Ranks(Weights weights, std::vector<double>& ranks) const {
    ranks.resize(values_.size());
    double before = 0;
    for (size_t begin = 0; begin < order_.size();) {
      size_t end = begin;
      double count = 0;
      for (; end < order_.size() && values_[order_[end]] == values_[order_[begin]]; ++end) {
        count += weights[order_[end]];
      }
      for (size_t i = begin; i < end; ++i) ranks[order_[i]] = before + (count + 1) / 2;
      before += count;
      begin = end;
    }
  }

 private:
  std::vector<double> values_;
  std::vector<uint32_t> order_;
};

class Regression : public Scorer {
 public:
  Regression(std::vector<double> gold, std::vector<double> predicted)
      : gold_(std::move(gold)), predicted_(std::move(predicted)) {
    names_ = {"pearson", "spearman", "mse"};
  }

  void Score(Weights weights, std::span<double> values) override {
    gold_.Ranks(weights, gold_ranks_);
    predicted_.Ranks(weights, predicted_ranks_);
    values[0] = Pearson(gold_.values(), predicted_.values(), weights);
    values[1] = Pearson(gold_ranks_, predicted_ranks_, weights);
    double sum = 0, n = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const double error = gold_.values()[i] - predicted_.values()[i];
      sum += weights[i] * error * error;
      n += weights[i];
    }
    values[2] = Quotient(sum, n);
  }

 private:
  Ranked gold_, predicted_;
  std::vector<double> gold_ranks_, predicted_ranks_;
};

}  // namespace

ScorerOrError RegressionScorer(const Dataset& data, std::span<const TaskOutput> outputs) {
  std::vector<double> gold, predicted;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].scores.empty() || !std::isfinite(outputs[i].scores[0])) {
      return BlameExample(data, i, "has a prediction that is not a number");
    }
    gold.push_back(data.examples[i].value);
    predicted.push_back(outputs[i].scores[0]);
  }
  return std::unique_ptr<Scorer>(
      std::make_unique<Regression>(std::move(gold), std::move(predicted)));
}

}  // namespace thimble
