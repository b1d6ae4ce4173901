#include "thimble/train/objective.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "thimble/base/random.h"
#include "thimble/train/kernels/kernels.h"

namespace thimble::train {
namespace {

at::Tensor Longs(std::span<const int64_t> values, const at::Tensor& like) {
  const at::Tensor cpu = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), cpu.data_ptr<int64_t>());
  return cpu.to(like.device());
}

at::Tensor Floats(std::span<const float> values, at::IntArrayRef shape, const at::Tensor& like) {
  const at::Tensor cpu = at::empty(shape, at::kFloat);
  std::copy(values.begin(), values.end(), cpu.data_ptr<float>());
  return cpu.to(like.device());
}

class TaskLoss : public Objective {
 public:
  TaskLoss(ValueId logits, TaskLossOptions options)
      : logits_(logits), options_(std::move(options)) {}
  std::vector<ValueId> Values() const override { return {logits_}; }

 protected:
  at::Tensor Adjusted(const at::Tensor& logits) const {
    if (options_.adjust_tau == 0) return logits;
    std::vector<float> shift;
    for (const float prior : options_.priors) {
      shift.push_back(static_cast<float>(options_.adjust_tau * std::log(std::max(prior, 1e-8f))));
    }
    return logits + Floats(shift, {static_cast<int64_t>(shift.size())}, logits);
  }
  float ClassWeight(int64_t label) const {
    return options_.class_weights.empty() ? 1.0f
                                          : options_.class_weights[static_cast<size_t>(label)];
  }
  // Sum of the weighted cross entropies of rows with one class each.
  at::Tensor CrossEntropy(const at::Tensor& logits, std::span<const int64_t> classes) const {
    const at::Tensor log_p = Adjusted(logits).log_softmax(1);
    at::Tensor picked = log_p.gather(1, Longs(classes, logits).unsqueeze(1)).squeeze(1);
    at::Tensor loss = -picked;
    if (options_.label_smoothing > 0) {
      const double s = options_.label_smoothing;
      loss = (1 - s) * loss - s * log_p.mean(1);
    }
    if (options_.focal_gamma > 0) loss = loss * (1 - picked.exp()).pow(options_.focal_gamma);
    if (!options_.class_weights.empty()) {
      std::vector<float> weights;
      for (const int64_t c : classes) weights.push_back(ClassWeight(c));
      loss = loss * Floats(weights, {static_cast<int64_t>(weights.size())}, logits);
    }
    return loss.sum();
  }

  ValueId logits_;
  TaskLossOptions options_;
};

class SingleLabelLoss : public TaskLoss {
 public:
  using TaskLoss::TaskLoss;
  double Weight(const TrainingBatch& batch) const override {
    double sum = 0;
    for (const TrainingExample* e : batch.examples) {
      sum += e->scores.empty() ? static_cast<double>(ClassWeight(e->labels[0])) : 1.0;
    }
    return sum;
  }
  at::Tensor Loss(const TrainingBatch& batch, std::span<const at::Tensor> values) const override {
    std::vector<int64_t> hard_rows, classes, soft_rows;
    std::vector<float> scores;
    for (size_t i = 0; i < batch.examples.size(); ++i) {
      const TrainingExample& e = *batch.examples[i];
      if (e.scores.empty()) {
        hard_rows.push_back(static_cast<int64_t>(i));
        classes.push_back(e.labels[0]);
      } else {
        soft_rows.push_back(static_cast<int64_t>(i));
        scores.insert(scores.end(), e.scores.begin(), e.scores.end());
      }
    }
    const at::Tensor& logits = values[0];
    if (soft_rows.empty()) return CrossEntropy(logits, classes);
    at::Tensor target =
        Floats(scores, {static_cast<int64_t>(soft_rows.size()), logits.size(1)}, logits);
    target = target / target.sum(1, true).clamp_min(1e-8);
    const at::Tensor soft = logits.index_select(0, Longs(soft_rows, logits));
    at::Tensor loss = -(target * soft.log_softmax(1)).sum();
    if (!classes.empty()) {
      loss = loss + CrossEntropy(logits.index_select(0, Longs(hard_rows, logits)), classes);
    }
    return loss;
  }
};

class MultiLabelLoss : public TaskLoss {
 public:
  using TaskLoss::TaskLoss;
  at::Tensor Loss(const TrainingBatch& batch, std::span<const at::Tensor> values) const override {
    const at::Tensor logits = Adjusted(values[0]);
    const auto labels = static_cast<size_t>(logits.size(1));
    std::vector<float> targets(batch.examples.size() * labels, 0.0f);
    for (size_t i = 0; i < batch.examples.size(); ++i) {
      const TrainingExample& e = *batch.examples[i];
      float* row = targets.data() + i * labels;
      if (!e.scores.empty()) {
        std::copy(e.scores.begin(), e.scores.end(), row);
      } else {
        for (const int32_t label : e.labels) row[label] = 1.0f;
      }
    }
    const at::Tensor y = Floats(targets, logits.sizes(), logits);
    // log(1 + e^-|x|) + max(x, 0) - x y, weighted on its positive term.
    const at::Tensor positive = at::log_sigmoid(logits), negative = at::log_sigmoid(-logits);
    at::Tensor gain = y * positive;
    at::Tensor loss_negative = (1 - y) * negative;
    if (!options_.class_weights.empty()) {
      gain = gain * Floats(options_.class_weights, {static_cast<int64_t>(labels)}, logits);
    }
    if (options_.focal_gamma > 0) {
      gain = gain * negative.exp().pow(options_.focal_gamma);  // 1 - p
      loss_negative = loss_negative * positive.exp().pow(options_.focal_gamma);
    }
    return -(gain + loss_negative).mean(1).sum();
  }
};

class RegressionLoss : public TaskLoss {
 public:
  using TaskLoss::TaskLoss;
  at::Tensor Loss(const TrainingBatch& batch, std::span<const at::Tensor> values) const override {
    std::vector<float> targets;
    for (const TrainingExample* e : batch.examples) targets.push_back(e->value);
    const at::Tensor y = Floats(targets, {static_cast<int64_t>(targets.size())}, values[0]);
    return (values[0].select(1, 0) - y).square().sum();
  }
};

// Softmax over the tokens of each sequence, for either end.
class AnswerLoss : public TaskLoss {
 public:
  using TaskLoss::TaskLoss;
  at::Tensor Loss(const TrainingBatch& batch, std::span<const at::Tensor> values) const override {
    const auto sequences = static_cast<int64_t>(batch.examples.size());
    size_t longest = 0;
    for (const TrainingExample* e : batch.examples) longest = std::max(longest, e->ids.size());
    const auto length = static_cast<int64_t>(longest);
    std::vector<int64_t> gather(static_cast<size_t>(sequences * length), 0), ends;
    std::vector<float> beyond(gather.size(), -std::numeric_limits<float>::infinity());
    for (size_t s = 0; s < batch.examples.size(); ++s) {
      for (size_t t = 0; t < batch.examples[s]->ids.size(); ++t) {
        gather[s * longest + t] = static_cast<int64_t>(batch.tokens.offset(s) + t);
        beyond[s * longest + t] = 0;
      }
      ends.push_back(batch.examples[s]->labels[0]);
      ends.push_back(batch.examples[s]->labels[1]);
    }
    const at::Tensor& logits = values[0];
    const at::Tensor scores =
        logits.index_select(0, Longs(gather, logits)).view({sequences, length, 2}) +
        Floats(beyond, {sequences, length, 1}, logits);
    const at::Tensor target = Longs(ends, logits).view({sequences, 1, 2});
    return -0.5 * scores.log_softmax(1).gather(1, target).sum();
  }
};

class TokenLabelLoss : public TaskLoss {
 public:
  using TaskLoss::TaskLoss;
  double Weight(const TrainingBatch& batch) const override {
    double sum = 0;
    for (const TrainingExample* e : batch.examples) {
      for (const int32_t label : e->labels) {
        if (label != kIgnored) sum += static_cast<double>(ClassWeight(label));
      }
    }
    return sum;
  }
  at::Tensor Loss(const TrainingBatch& batch, std::span<const at::Tensor> values) const override {
    std::vector<int64_t> rows, classes;
    int64_t row = 0;
    for (const TrainingExample* e : batch.examples) {
      for (const int32_t label : e->labels) {
        if (label != kIgnored) rows.push_back(row), classes.push_back(label);
        ++row;
      }
    }
    return CrossEntropy(values[0].index_select(0, Longs(rows, values[0])), classes);
  }
};

class MaskedLmLoss : public Objective {
 public:
  MaskedLmLoss(ValueId logits, MaskingOptions options)
      : logits_(logits), options_(std::move(options)) {
    special_.assign(static_cast<size_t>(options_.vocabulary), 0);
    for (const int32_t id : options_.special_ids) {
      if (id >= 0 && id < options_.vocabulary) special_[static_cast<size_t>(id)] = 1;
    }
  }

  std::vector<ValueId> Values() const override { return {logits_}; }

  TrainingBatch Prepare(std::span<const TrainingExample* const> examples,
                        uint32_t step_key) const override {
    TrainingBatch batch;
    for (const TrainingExample* e : examples) {
      Random random(step_key, e->key);
      std::vector<int32_t> ids = e->ids;
      const auto first = static_cast<int64_t>(batch.tokens.tokens());
      for (const size_t t : Choose(*e, random)) {
        batch.logit_rows.push_back(first + static_cast<int64_t>(t));
        batch.masked_ids.push_back(e->ids[t]);
        const double u = random.Uniform();
        if (u < 0.8) {
          ids[t] = options_.mask_id;
        } else if (u < 0.9) {
          ids[t] = static_cast<int32_t>(random.Below(static_cast<uint64_t>(options_.vocabulary)));
        }
      }
      batch.examples.push_back(e);
      batch.tokens.Add(ids, e->type_ids);
      batch.sequence_keys.push_back(e->key);
    }
    return batch;
  }

  double Weight(const TrainingBatch& batch) const override {
    return static_cast<double>(batch.masked_ids.size());
  }

  at::Tensor Loss(const TrainingBatch& batch, std::span<const at::Tensor> values) const override {
    const at::Tensor target = Longs(batch.masked_ids, values[0]).unsqueeze(1);
    return -values[0].log_softmax(1).gather(1, target).sum();
  }

 private:
  // Positions to predict: about `probability` of the tokens, at least one, in rising order.
  std::vector<size_t> Choose(const TrainingExample& e, Random& random) const {
    std::vector<std::pair<size_t, size_t>> units;  // first token and count
    size_t tokens = 0;
    for (size_t t = 0; t < e.ids.size(); ++t) {
      const auto id = static_cast<size_t>(e.ids[t]);
      if (special_[id] != 0) continue;
      ++tokens;
      const bool joins = options_.whole_words && !units.empty() &&
                         id < options_.continues_word.size() && options_.continues_word[id] != 0 &&
                         units.back().first + units.back().second == t;
      if (joins) {
        ++units.back().second;
      } else {
        units.emplace_back(t, 1);
      }
    }
    random.Shuffle(std::span(units));
    const auto wanted = std::max<size_t>(
        1, static_cast<size_t>(std::lround(options_.probability * static_cast<double>(tokens))));
    std::vector<size_t> chosen;
    for (const auto& [first, count] : units) {
      if (chosen.size() >= wanted) break;
      for (size_t i = 0; i < count; ++i) chosen.push_back(first + i);
    }
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }

  ValueId logits_;
  MaskingOptions options_;
  std::vector<uint8_t> special_;
};

Result<ValueId> LogitsOf(const Graph& graph) {
  const GraphOutput* logits = graph.FindOutput("logits");
  if (logits == nullptr) return InvalidArgument("the model has no logits to train");
  return logits->value;
}

}  // namespace

TrainingBatch Objective::Prepare(std::span<const TrainingExample* const> examples, uint32_t) const {
  TrainingBatch batch;
  for (const TrainingExample* e : examples) {
    batch.examples.push_back(e);
    batch.tokens.Add(e->ids, e->type_ids);
    batch.sequence_keys.push_back(e->key);
  }
  return batch;
}

Result<std::unique_ptr<Objective>> TaskObjective(const Graph& graph, Task task,
                                                 TaskLossOptions options) {
  TRY(const ValueId logits, LogitsOf(graph));
  const auto labels = static_cast<size_t>(graph.value(logits).type.width);
  for (const auto* per_label : {&options.class_weights, &options.priors}) {
    if (!per_label->empty() && per_label->size() != labels) {
      return InvalidArgument("there are " + std::to_string(per_label->size()) +
                             " class weights or priors for " + std::to_string(labels) + " labels");
    }
  }
  switch (task) {
    case Task::kSingleLabel:
      return std::unique_ptr<Objective>(new SingleLabelLoss(logits, std::move(options)));
    case Task::kMultiLabel:
      return std::unique_ptr<Objective>(new MultiLabelLoss(logits, std::move(options)));
    case Task::kRegression:
      return std::unique_ptr<Objective>(new RegressionLoss(logits, std::move(options)));
    case Task::kAnswers:
      return std::unique_ptr<Objective>(new AnswerLoss(logits, std::move(options)));
    case Task::kTokenLabels:
      return std::unique_ptr<Objective>(new TokenLabelLoss(logits, std::move(options)));
    case Task::kFeatures:
    case Task::kMaskedLm:
    case Task::kPretraining:
      break;
  }
  return Unsupported("there is no labelled loss for the task " + std::string(TaskName(task)));
}

Result<std::unique_ptr<Objective>> MaskedLmObjective(const Graph& graph, MaskingOptions options) {
  TRY(const ValueId logits, LogitsOf(graph));
  if (options.mask_id < 0) return InvalidArgument("the tokenizer has no mask token");
  options.vocabulary = static_cast<int32_t>(graph.value(logits).type.width);
  return std::unique_ptr<Objective>(new MaskedLmLoss(logits, std::move(options)));
}

}  // namespace thimble::train
