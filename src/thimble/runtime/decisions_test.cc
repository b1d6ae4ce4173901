#include "thimble/runtime/decisions.h"

#include <gtest/gtest.h>

namespace thimble {
namespace {

std::vector<size_t> Applied(const Model& model, std::vector<float> scores) {
  std::vector<size_t> labels;
  for (const LabelScore& label : AppliedLabels(model, {.scores = std::move(scores)})) {
    labels.push_back(label.label);
  }
  return labels;
}

TEST(Decisions, NameLabelsThatTheModelDoesNot) {
  const Model model{.labels = {"ham"}};
  EXPECT_EQ(LabelName(model, 0), "ham");
  EXPECT_EQ(LabelName(model, 1), "LABEL_1");
}

TEST(Decisions, OneLabelOfSeveralIsTheBest) {
  const Model model{.task = Task::kSingleLabel};
  EXPECT_EQ(Applied(model, {0.2f, 0.5f, 0.3f}), std::vector<size_t>{1});
}

TEST(Decisions, AnyOfSeveralLabelsReachesItsThreshold) {
  Model model{.task = Task::kMultiLabel};
  EXPECT_EQ(Applied(model, {0.5f, 0.49f, 0.9f}), (std::vector<size_t>{0, 2}));
  model.thresholds = {0.6f, 0.4f, 0.9f};
  EXPECT_EQ(Applied(model, {0.5f, 0.49f, 0.9f}), (std::vector<size_t>{1, 2}));
}

TEST(Decisions, OtherTasksHaveNoLabelsThatApply) {
  EXPECT_TRUE(Applied(Model{.task = Task::kRegression}, {3.0f}).empty());
}

TEST(Decisions, NoAnswerCountsOnlyWhereItMayAndIsLikelier) {
  Prediction prediction;
  EXPECT_EQ(DecidedAnswer(prediction, true).end, 0u) << "there is no context";
  prediction.answers = {{.begin = 3, .end = 5, .score = 0.5f, .logit = 1.0f}};
  prediction.no_answer_logit = 2.0f;
  EXPECT_EQ(DecidedAnswer(prediction, false).end, 5u);
  const Answer none = DecidedAnswer(prediction, true);
  EXPECT_EQ(none.end, 0u);
  EXPECT_FLOAT_EQ(none.score, Sigmoid(1.0f));
  prediction.no_answer_logit = 1.0f;
  EXPECT_EQ(DecidedAnswer(prediction, true).end, 5u);
}

}  // namespace
}  // namespace thimble
