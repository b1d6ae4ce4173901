#include "thimble/metrics/thresholds.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "thimble/metrics/counts.h"
#include "thimble/metrics/scorer.h"

namespace thimble {
namespace {

constexpr size_t kGrid = 99;  // 0.01, 0.02, ..., 0.99

float GridValue(size_t i) { return static_cast<float>(i + 1) / 100.0f; }

bool Nearer(float a, float b) {
  const float da = std::abs(a - 0.5f), db = std::abs(b - 0.5f);
  return da != db ? da < db : a > b;
}

struct Scored {
  float score;
  bool gold;
};

// Of one label, highest score first.
std::vector<Scored> ColumnOf(const Dataset& data, std::span<const TaskOutput> outputs,
                             size_t label) {
  std::vector<Scored> column;
  column.reserve(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<int32_t>& gold = data.examples[i].labels;
    column.push_back({outputs[i].scores[label],
                      std::binary_search(gold.begin(), gold.end(), static_cast<int32_t>(label))});
  }
  std::sort(column.begin(), column.end(),
            [](const Scored& a, const Scored& b) { return a.score > b.score; });
  return column;
}

Counts CountsAt(std::span<const Scored> column, size_t support, float threshold) {
  const auto end = std::partition_point(column.begin(), column.end(),
                                        [&](const Scored& s) { return s.score >= threshold; });
  Counts counts{.gold = support};
  for (auto it = column.begin(); it != end; ++it) counts.right += it->gold;
  counts.predicted = static_cast<uint64_t>(end - column.begin());
  return counts;
}

// Between two neighbouring scores: all thresholds in (low, high] do the same.
float Between(float low, float high) {
  if (low < 0.5f && 0.5f <= high) return 0.5f;
  const float middle = low + (high - low) / 2;
  return middle > low ? middle : high;
}

// The exact best threshold of a label with at least one example.
float BestThreshold(std::span<const Scored> column, size_t support) {
  float best = 0.5f;
  double best_f1 = -1;
  Counts counts{.gold = support};
  for (size_t i = 0; i < column.size(); ++i) {
    ++counts.predicted;
    counts.right += column[i].gold;
    const bool last = i + 1 == column.size();
    if (!last && column[i + 1].score == column[i].score) continue;
    const float threshold = Between(last ? 0.0f : column[i + 1].score, column[i].score);
    const double f1 = counts.f1();
    if (f1 > best_f1 || (f1 == best_f1 && Nearer(threshold, best))) {
      best_f1 = f1;
      best = threshold;
    }
  }
  return best;
}

// F1 at every point of the grid, added to `sums`.
void AddGrid(std::span<const Scored> column, size_t support, std::array<double, kGrid>& sums) {
  size_t at = 0;
  Counts counts{.gold = support};
  for (size_t i = kGrid; i-- > 0;) {
    for (; at < column.size() && column[at].score >= GridValue(i); ++at) {
      ++counts.predicted;
      counts.right += column[at].gold;
    }
    sums[i] += counts.f1();
  }
}

}  // namespace

Result<TunedThresholds> TuneThresholds(const Dataset& valid, std::span<const TaskOutput> outputs,
                                       const ThresholdOptions& options) {
  if (valid.task != Task::kMultiLabel) {
    return InvalidArgument("thresholds are for several labels per example, not for " +
                           std::string(TaskName(valid.task)));
  }
  if (outputs.empty() || outputs.size() != valid.examples.size()) {
    return InvalidArgument(std::to_string(outputs.size()) + " outputs for " +
                           std::to_string(valid.examples.size()) + " examples");
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<float>& scores = outputs[i].scores;
    if (scores.size() < valid.known_labels ||
        !std::all_of(scores.begin(), scores.end(), [](float s) { return s >= 0 && s <= 1; })) {
      return BlameExample(valid, i, "has too few scores, or one that is no probability");
    }
  }
  const size_t labels = valid.known_labels;
  TunedThresholds tuned;
  std::array<double, kGrid> sums{};
  std::vector<size_t> support(labels);
  for (size_t label = 0; label < labels; ++label) {
    const std::vector<Scored> column = ColumnOf(valid, outputs, label);
    for (const Scored& s : column) support[label] += s.gold;
    AddGrid(column, support[label], sums);
    const bool enough = support[label] > 0 && support[label] >= options.min_support;
    tuned.per_label.push_back(enough ? BestThreshold(column, support[label]) : -1);
    if (enough) {
      tuned.macro_f1_per_label += CountsAt(column, support[label], tuned.per_label[label]).f1();
    } else {
      ++tuned.below_support;
    }
  }
  size_t best = kGrid / 2;
  for (size_t i = 0; i < kGrid; ++i) {
    if (sums[i] > sums[best] || (sums[i] == sums[best] && Nearer(GridValue(i), GridValue(best)))) {
      best = i;
    }
  }
  tuned.global = GridValue(best);
  for (size_t label = 0; label < labels; ++label) {
    if (tuned.per_label[label] >= 0) continue;
    tuned.per_label[label] = tuned.global;
    tuned.macro_f1_per_label +=
        CountsAt(ColumnOf(valid, outputs, label), support[label], tuned.global).f1();
  }
  const auto all = static_cast<double>(std::max<size_t>(labels, 1));
  tuned.macro_f1_default = sums[kGrid / 2] / all;
  tuned.macro_f1_global = sums[best] / all;
  tuned.macro_f1_per_label /= all;
  return tuned;
}

}  // namespace thimble
