#include "thimble/train/objective.h"

#include <gtest/gtest.h>

#include <cmath>

#include "thimble/train/test_models.h"

namespace thimble::train {
namespace {

at::Tensor Matrix(const std::vector<float>& values, int64_t rows) {
  const at::Tensor t = at::empty({rows, static_cast<int64_t>(values.size()) / rows}, at::kFloat);
  std::copy(values.begin(), values.end(), t.data_ptr<float>());
  return t;
}

TrainingBatch BatchOf(const std::vector<TrainingExample>& examples) {
  TrainingBatch batch;
  for (const TrainingExample& e : examples) {
    batch.examples.push_back(&e);
    batch.tokens.Add(e.ids, e.type_ids);
  }
  return batch;
}

TrainingExample Labelled(std::vector<int32_t> labels, size_t tokens = 2) {
  TrainingExample e;
  e.ids.assign(tokens, 1);
  e.type_ids.assign(tokens, 0);
  e.labels = std::move(labels);
  return e;
}

double LossOf(Task task, const TaskLossOptions& options,
              const std::vector<TrainingExample>& examples, const at::Tensor& logits,
              int64_t labels = 3) {
  const auto objective = TaskObjective(SmallBert(task, labels), task, options);
  EXPECT_TRUE(objective.has_value()) << objective.error().message();
  const at::Tensor values[] = {logits};
  return (*objective)->Loss(BatchOf(examples), values).item<double>();
}

// Softmax of {1, 2, 3} and {0, 0, 0}.
const double kSum = std::exp(1) + std::exp(2) + std::exp(3);

TEST(TaskObjective, IsTheCrossEntropyOfSingleLabels) {
  const at::Tensor logits = Matrix({1, 2, 3, 0, 0, 0}, 2);
  EXPECT_NEAR(LossOf(Task::kSingleLabel, {}, {Labelled({2}), Labelled({0})}, logits),
              std::log(kSum) - 3 + std::log(3.0), 1e-5);
}

TEST(TaskObjective, WeighsClasses) {
  const at::Tensor logits = Matrix({1, 2, 3, 0, 0, 0}, 2);
  const std::vector<TrainingExample> examples{Labelled({2}), Labelled({0})};
  EXPECT_NEAR(LossOf(Task::kSingleLabel, {.class_weights = {5, 1, 0.5f}}, examples, logits),
              0.5 * (std::log(kSum) - 3) + 5 * std::log(3.0), 1e-5);
  const auto objective =
      *TaskObjective(SmallBert(), Task::kSingleLabel, {.class_weights = {5, 1, 0.5f}});
  EXPECT_DOUBLE_EQ(objective->Weight(BatchOf(examples)), 5.5);
}

TEST(TaskObjective, FocusesOnHardExamples) {
  const double p = std::exp(3) / kSum;
  EXPECT_NEAR(LossOf(Task::kSingleLabel, {.focal_gamma = 2}, {Labelled({2})}, Matrix({1, 2, 3}, 1)),
              -std::log(p) * (1 - p) * (1 - p), 1e-5);
}

TEST(TaskObjective, AdjustsLogitsByTheSharesOfLabels) {
  const double adjusted = std::exp(1) * 0.5 + std::exp(2) * 0.3 + std::exp(3) * 0.2;
  EXPECT_NEAR(LossOf(Task::kSingleLabel, {.adjust_tau = 1, .priors = {0.5f, 0.3f, 0.2f}},
                     {Labelled({2})}, Matrix({1, 2, 3}, 1)),
              -std::log(std::exp(3) * 0.2 / adjusted), 1e-5);
}

TEST(TaskObjective, LearnsFromSoftLabels) {
  TrainingExample soft = Labelled({0});
  soft.scores = {0.5f, 0.25f, 0.25f};
  EXPECT_NEAR(LossOf(Task::kSingleLabel, {}, {soft}, Matrix({1, 2, 3}, 1)),
              std::log(kSum) - (0.5 * 1 + 0.25 * 2 + 0.25 * 3), 1e-5);
}

TEST(TaskObjective, IsTheMeanBinaryCrossEntropyOfSeveralLabels) {
  const auto log_sigmoid = [](double x) { return -std::log1p(std::exp(-x)); };
  EXPECT_NEAR(LossOf(Task::kMultiLabel, {}, {Labelled({0, 2})}, Matrix({1, 2, -3}, 1)),
              -(log_sigmoid(1) + log_sigmoid(-2) + log_sigmoid(-3)) / 3, 1e-5);
}

TEST(TaskObjective, IsTheSquaredErrorOfValues) {
  TrainingExample e = Labelled({});
  e.value = 2.5f;
  EXPECT_NEAR(LossOf(Task::kRegression, {}, {e}, Matrix({1}, 1), 1), 2.25, 1e-6);
}

TEST(TaskObjective, FindsBothEndsOfAnswersWithinTheirSequence) {
  // Two sequences of 2 and 3 tokens; logits [start, end] per token.
  const at::Tensor logits = Matrix({1, 0, 2, 0, 0, 0, 0, 0, 0, 3}, 5);
  const double first = std::log(std::exp(1) + std::exp(2)) - 2 + std::log(2.0);
  const double second = std::log(3.0) + std::log(2 + std::exp(3)) - 3;
  EXPECT_NEAR(LossOf(Task::kAnswers, {}, {Labelled({1, 0}, 2), Labelled({0, 2}, 3)}, logits),
              (first + second) / 2, 1e-5);
}

TEST(TaskObjective, IgnoresTokensWithoutALabel) {
  const at::Tensor logits = Matrix({9, 9, 9, 1, 2, 3}, 2);
  const std::vector<TrainingExample> examples{Labelled({kIgnored, 2})};
  EXPECT_NEAR(LossOf(Task::kTokenLabels, {}, examples, logits), std::log(kSum) - 3, 1e-5);
  const auto objective = *TaskObjective(SmallBert(Task::kTokenLabels), Task::kTokenLabels);
  EXPECT_DOUBLE_EQ(objective->Weight(BatchOf(examples)), 1);
}

TEST(TaskObjective, RefusesTasksWithoutLabelsAndWrongWeights) {
  EXPECT_EQ(TaskObjective(SmallBert(Task::kMaskedLm), Task::kMaskedLm).error().code(),
            ErrorCode::kUnsupported);
  EXPECT_EQ(
      TaskObjective(SmallBert(), Task::kSingleLabel, {.class_weights = {1, 2}}).error().code(),
      ErrorCode::kInvalidArgument);
}

MaskingOptions Masking() {
  return {
      .mask_id = 4, .special_ids = {0, 1, 2, 3, 4}, .continues_word = std::vector<uint8_t>(40, 0)};
}

TEST(MaskedLmObjective, MasksTheShareThatIsAskedFor) {
  const Graph graph = SmallBert(Task::kMaskedLm);
  const auto objective = *MaskedLmObjective(graph, Masking());
  TrainingExample e;
  e.ids = {1};
  for (int i = 0; i < 400; ++i) e.ids.push_back(10 + i % 30);
  e.type_ids.assign(e.ids.size(), 0);
  const TrainingExample* examples[] = {&e};
  const TrainingBatch batch = objective->Prepare(examples, 5);
  ASSERT_EQ(batch.masked_ids.size(), 60u);
  EXPECT_DOUBLE_EQ(objective->Weight(batch), 60);
  size_t masked = 0, same = 0;
  for (size_t i = 0; i < batch.logit_rows.size(); ++i) {
    const auto row = static_cast<size_t>(batch.logit_rows[i]);
    EXPECT_EQ(e.ids[row], batch.masked_ids[i]);
    EXPECT_NE(row, 0u);  // special tokens stay
    masked += batch.tokens.ids()[row] == 4 ? 1 : 0;
    same += batch.tokens.ids()[row] == e.ids[row] ? 1 : 0;
  }
  // Binomial(60, 0.8) and (60, 0.1): five standard deviations.
  EXPECT_NEAR(static_cast<double>(masked), 48, 5 * std::sqrt(60 * 0.8 * 0.2));
  EXPECT_NEAR(static_cast<double>(same), 6, 5 * std::sqrt(60 * 0.1 * 0.9));
  for (size_t t = 0; t < e.ids.size(); ++t) {
    const bool chosen = std::find(batch.logit_rows.begin(), batch.logit_rows.end(),
                                  static_cast<int64_t>(t)) != batch.logit_rows.end();
    if (!chosen) {
      EXPECT_EQ(batch.tokens.ids()[t], e.ids[t]);
    }
  }
  EXPECT_EQ(objective->Prepare(examples, 5).logit_rows, batch.logit_rows);
  EXPECT_NE(objective->Prepare(examples, 6).logit_rows, batch.logit_rows);
}

TEST(MaskedLmObjective, MasksWholeWords) {
  MaskingOptions masking = Masking();
  masking.whole_words = true;
  masking.continues_word[11] = 1;  // words are 10 11 11
  const auto objective = *MaskedLmObjective(SmallBert(Task::kMaskedLm), masking);
  TrainingExample e;
  for (int i = 0; i < 30; ++i) e.ids.insert(e.ids.end(), {10, 11, 11});
  e.type_ids.assign(e.ids.size(), 0);
  const TrainingExample* examples[] = {&e};
  const TrainingBatch batch = objective->Prepare(examples, 5);
  ASSERT_EQ(batch.logit_rows.size() % 3, 0u);
  for (size_t i = 0; i < batch.logit_rows.size(); i += 3) {
    EXPECT_EQ(batch.logit_rows[i] % 3, 0);
    EXPECT_EQ(batch.logit_rows[i + 2], batch.logit_rows[i] + 2);
  }
}

}  // namespace
}  // namespace thimble::train
