#include "thimble/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "thimble/metrics/entities.h"

namespace thimble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Dataset Labelled(Task task, std::vector<std::string> labels) {
  Dataset data;
  data.task = task;
  data.known_labels = labels.size();
  data.labels = std::move(labels);
  return data;
}

TaskOutput Choice(size_t label, size_t labels) {
  TaskOutput output;
  output.scores.assign(labels, 0);
  output.scores[label] = 1;
  return output;
}

TaskMetrics Compute(const Dataset& data, const std::vector<TaskOutput>& outputs,
                    const MetricOptions& options = {.bootstrap_samples = 0}) {
  Result<TaskMetrics> metrics = ComputeMetrics(data, outputs, options);
  if (metrics.has_value()) return *std::move(metrics);
  ADD_FAILURE() << metrics.error().message();
  return {};
}

std::string ErrorOf(const Dataset& data, const std::vector<TaskOutput>& outputs,
                    const MetricOptions& options = {}) {
  const Result<TaskMetrics> metrics = ComputeMetrics(data, outputs, options);
  return metrics.has_value() ? "no error" : metrics.error().message();
}

double Value(const TaskMetrics& metrics, std::string_view name) {
  const Metric* metric = metrics.Find(name);
  EXPECT_NE(metric, nullptr) << name;
  return metric != nullptr ? metric->value : std::nan("");
}

// The examples below were given to scikit-learn 1.2.1 and SciPy 1.10.1 too, with these numbers; the
// generator is the C library's of old.
class Generator {
 public:
  explicit Generator(uint32_t seed) : state_(seed) {}
  uint32_t Below(uint32_t n) {
    state_ = (state_ * 1103515245u + 12345u) & 0x7FFFFFFFu;
    return (state_ >> 8) % n;
  }

 private:
  uint32_t state_;
};
constexpr int kExamples = 200;

// --- One label

struct SingleCase {
  Dataset data;
  std::vector<TaskOutput> outputs;
};

// Gold and predicted label of each example.
SingleCase Single(std::vector<std::string> labels, const std::vector<std::pair<int, int>>& pairs) {
  SingleCase c{Labelled(Task::kSingleLabel, std::move(labels)), {}};
  for (const auto& [gold, predicted] : pairs) {
    c.data.examples.push_back({.labels = {gold}});
    c.outputs.push_back(Choice(static_cast<size_t>(predicted), c.data.known_labels));
  }
  return c;
}

TEST(SingleLabel, ByHand) {
  const SingleCase c = Single({"no", "yes"}, {{0, 0}, {0, 1}, {1, 1}, {1, 1}, {1, 0}});
  const TaskMetrics m = Compute(c.data, c.outputs);
  EXPECT_EQ(m.metrics[0].name, "accuracy");
  EXPECT_DOUBLE_EQ(Value(m, "accuracy"), 0.6);
  EXPECT_DOUBLE_EQ(Value(m, "f1"), 2.0 / 3);
  EXPECT_DOUBLE_EQ(Value(m, "macro_f1"), (0.5 + 2.0 / 3) / 2);
  EXPECT_DOUBLE_EQ(Value(m, "micro_f1"), 0.6);
  EXPECT_DOUBLE_EQ(Value(m, "weighted_f1"), (2 * 0.5 + 3 * 2.0 / 3) / 5);
  EXPECT_DOUBLE_EQ(Value(m, "macro_recall"), (0.5 + 2.0 / 3) / 2);
  // TP 2, TN 1, FP 1, FN 1.
  EXPECT_DOUBLE_EQ(Value(m, "matthews"), (2 * 1 - 1 * 1) / std::sqrt(3.0 * 3 * 2 * 2));
  EXPECT_THAT(m.confusion, ElementsAre(ElementsAre(1, 1), ElementsAre(1, 2)));
  EXPECT_EQ(m.per_label[1].label, "yes");
  EXPECT_EQ(m.per_label[1].support, 3u);
  EXPECT_DOUBLE_EQ(m.per_label[1].precision, 2.0 / 3);
  EXPECT_EQ(m.examples, 5u);
}

TEST(SingleLabel, AsScikitLearn) {
  Generator random(1);
  std::vector<std::pair<int, int>> pairs;
  for (int i = 0; i < kExamples; ++i) {
    const auto gold = static_cast<int>(random.Below(5));
    const bool right = random.Below(3) > 0;
    pairs.emplace_back(gold, right ? gold : static_cast<int>(random.Below(5)));
  }
  const SingleCase c = Single({"a", "b", "c", "d", "e"}, pairs);
  const TaskMetrics m = Compute(c.data, c.outputs);
  EXPECT_NEAR(Value(m, "accuracy"), 0.72, 1e-12);
  EXPECT_NEAR(Value(m, "macro_f1"), 0.7194175229537269, 1e-12);
  EXPECT_NEAR(Value(m, "weighted_f1"), 0.7197182770210431, 1e-12);
  EXPECT_NEAR(Value(m, "macro_recall"), 0.7223920981630576, 1e-12);
  EXPECT_NEAR(Value(m, "macro_precision"), 0.7186365396121493, 1e-12);
  EXPECT_NEAR(Value(m, "matthews"), 0.6496382693190852, 1e-12);
  EXPECT_THAT(m.confusion[0], ElementsAre(31, 2, 5, 0, 1));
}

TEST(SingleLabel, LabelsThatNobodyUses) {
  // "c" is neither gold nor predicted: the averages leave it out, as scikit-learn does.
  const SingleCase c = Single({"a", "b", "c"}, {{0, 0}, {1, 1}});
  const TaskMetrics m = Compute(c.data, c.outputs);
  EXPECT_DOUBLE_EQ(Value(m, "macro_f1"), 1);
  EXPECT_DOUBLE_EQ(Value(m, "macro_recall"), 1);
}

TEST(SingleLabel, OneLabelOnly) {
  const SingleCase c = Single({"a", "b"}, {{0, 0}, {0, 0}});
  EXPECT_EQ(Value(Compute(c.data, c.outputs), "matthews"), 0);  // nothing varies
}

TEST(SingleLabel, OutOfScope) {
  const SingleCase c = Single({"a", "b", "oos"}, {{0, 0}, {1, 0}, {1, 1}, {2, 2}, {2, 0}, {0, 2}});
  const TaskMetrics m = Compute(c.data, c.outputs);
  EXPECT_DOUBLE_EQ(Value(m, "in_scope_accuracy"), 0.5);
  EXPECT_DOUBLE_EQ(Value(m, "oos_recall"), 0.5);
  EXPECT_DOUBLE_EQ(Value(m, "oos_precision"), 0.5);
}

TEST(SingleLabel, LabelsOnlyOneSideKnows) {
  // The data has "new", which the model does not know; the model has a third label of its own.
  SingleCase c = Single({"a", "b"}, {{0, 0}, {1, 1}});
  c.data.labels.push_back("new");
  c.data.examples.push_back({.labels = {2}});
  c.outputs.push_back(Choice(2, 3));
  const TaskMetrics m = Compute(c.data, c.outputs);
  EXPECT_DOUBLE_EQ(Value(m, "accuracy"), 2.0 / 3);
  EXPECT_THAT(m.confusion[2], ElementsAre(0, 0, 0, 1));
}

// --- Several labels

TEST(MultiLabel, ByHand) {
  Dataset data = Labelled(Task::kMultiLabel, {"x", "y"});
  data.examples = {{.labels = {0}}, {.labels = {0, 1}}, {.labels = {}}};
  std::vector<TaskOutput> outputs(3);
  outputs[0].scores = {0.9f, 0.6f};
  outputs[1].scores = {0.5f, 0.4f};
  outputs[2].scores = {0.1f, 0.1f};
  const TaskMetrics m = Compute(data, outputs);
  EXPECT_EQ(m.metrics[0].name, "macro_f1");
  EXPECT_DOUBLE_EQ(Value(m, "macro_f1"), 0.5);  // x: 1, y: 0
  EXPECT_DOUBLE_EQ(Value(m, "micro_f1"), 2.0 * 2 / 6);
  EXPECT_DOUBLE_EQ(Value(m, "accuracy"), 1.0 / 3);
  const TaskMetrics lower =
      Compute(data, outputs, {.thresholds = {0.5f, 0.4f}, .bootstrap_samples = 0});
  EXPECT_DOUBLE_EQ(Value(lower, "macro_f1"), (1 + 2.0 / 3) / 2);
  const TaskMetrics one = Compute(data, outputs, {.thresholds = {0.95f}, .bootstrap_samples = 0});
  EXPECT_DOUBLE_EQ(Value(one, "macro_f1"), 0);
  EXPECT_THAT(ErrorOf(Labelled(Task::kMultiLabel, {"x"}), {}), HasSubstr("no examples"));
  data.labels.push_back("z"), data.known_labels = 3;
  EXPECT_THAT(ErrorOf(data, outputs, {.thresholds = {0.5f, 0.5f}}),
              HasSubstr("2 thresholds for 3 labels"));
  EXPECT_THAT(ErrorOf(data, outputs), HasSubstr("example 1 has fewer scores"));
}

TEST(MultiLabel, AsScikitLearn) {
  Generator random(2);
  Dataset data = Labelled(Task::kMultiLabel, {"a", "b", "c", "d"});
  std::vector<TaskOutput> outputs(kExamples);
  for (TaskOutput& output : outputs) {
    Example example;
    for (uint32_t label = 0; label < 4; ++label) {
      const bool gold = random.Below(label + 2) == 0;
      const bool predicted = random.Below(3) > 0 ? gold : random.Below(2) != 0;
      if (gold) example.labels.push_back(static_cast<int32_t>(label));
      output.scores.push_back(predicted ? 0.75f : 0.25f);
    }
    data.examples.push_back(std::move(example));
  }
  const TaskMetrics m = Compute(data, outputs);
  EXPECT_NEAR(Value(m, "macro_f1"), 0.7402928236241852, 1e-12);
  EXPECT_NEAR(Value(m, "micro_f1"), 0.7563352826510721, 1e-12);
  EXPECT_NEAR(Value(m, "weighted_f1"), 0.7597741901488881, 1e-12);
  EXPECT_NEAR(Value(m, "macro_recall"), 0.8147236373278324, 1e-12);
  EXPECT_NEAR(Value(m, "macro_precision"), 0.6857989038267751, 1e-12);
  EXPECT_NEAR(Value(m, "accuracy"), 0.51, 1e-12);
}

// --- Numbers

TEST(Regression, AsSciPy) {
  Generator random(3);
  Dataset data = Labelled(Task::kRegression, {});
  std::vector<TaskOutput> outputs(kExamples);
  for (TaskOutput& output : outputs) {
    const float gold = static_cast<float>(random.Below(11)) / 2;
    data.examples.push_back({.value = gold});
    output.scores = {gold + static_cast<float>(random.Below(9)) / 4 - 1};
  }
  const TaskMetrics m = Compute(data, outputs);
  EXPECT_EQ(m.metrics[0].name, "pearson");
  EXPECT_NEAR(Value(m, "pearson"), 0.926382415926856, 1e-12);
  EXPECT_NEAR(Value(m, "spearman"), 0.9293775174388881, 1e-12);  // both sides have ties
  EXPECT_NEAR(Value(m, "mse"), 0.38375, 1e-12);
}

TEST(Regression, Edges) {
  Dataset data = Labelled(Task::kRegression, {});
  data.examples = {{.value = 1}, {.value = 2}};
  std::vector<TaskOutput> outputs(2);
  outputs[0].scores = outputs[1].scores = {3};
  EXPECT_EQ(Value(Compute(data, outputs), "pearson"), 0);  // constant predictions
  EXPECT_EQ(Value(Compute(data, outputs), "spearman"), 0);
  outputs[1].scores = {std::numeric_limits<float>::infinity()};
  EXPECT_THAT(ErrorOf(data, outputs), HasSubstr("example 2 has a prediction that is not a number"));
}

// --- Answers

TEST(Answers, FirstVersion) {
  Dataset data = Labelled(Task::kAnswers, {});
  data.examples = {{.answers = {{.text = "Rome"}}}, {.answers = {{.text = "ancient Rome"}}}};
  std::vector<TaskOutput> outputs(2);
  outputs[0] = {.answer = "the Rome", .answer_score = 0, .no_answer_score = 9};
  outputs[1] = {.answer = "in ancient Rome"};
  const TaskMetrics m = Compute(data, outputs);
  EXPECT_EQ(m.metrics.size(), 2u);
  EXPECT_DOUBLE_EQ(Value(m, "f1"), 0.9);  // no question is unanswerable, so none is left unanswered
  EXPECT_DOUBLE_EQ(Value(m, "exact_match"), 0.5);
}

TEST(Answers, SecondVersion) {
  Dataset data = Labelled(Task::kAnswers, {});
  const std::vector<AnswerText> rome = {{.text = "Rome"}};
  data.examples = {
      {.answers = rome}, {.answers = rome}, {.unanswerable = true}, {.unanswerable = true}};
  std::vector<TaskOutput> outputs(4);
  outputs[0] = {.answer = "Rome", .answer_score = 5, .no_answer_score = 1};
  outputs[1] = {.answer = "Rome", .answer_score = 1, .no_answer_score = 2};  // left unanswered
  outputs[2] = {.answer = "Rome", .answer_score = 1, .no_answer_score = 4};  // rightly
  outputs[3] = {.answer = "Rome", .answer_score = 1, .no_answer_score = 0};  // wrongly answered
  const TaskMetrics m = Compute(data, outputs);
  EXPECT_DOUBLE_EQ(Value(m, "exact_match"), 0.5);
  EXPECT_DOUBLE_EQ(Value(m, "has_answer_exact_match"), 0.5);
  EXPECT_DOUBLE_EQ(Value(m, "no_answer_accuracy"), 0.5);
  // Margins -4, 1, 3, -1: answering up to -4 gives 3 of 4, and so does up to 1; the first counts.
  EXPECT_DOUBLE_EQ(Value(m, "best_f1"), 0.75);
  EXPECT_DOUBLE_EQ(Value(m, "best_f1_threshold"), -4);
}

// --- Words

TEST(Entities, AsSeqevalReadsThem) {
  const auto entities = [](std::vector<std::string_view> labels) {
    std::string text;
    for (const Entity& e : EntitiesOf(labels)) {
      text += e.type + ":" + std::to_string(e.begin) + "-" + std::to_string(e.end) + " ";
    }
    return text;
  };
  EXPECT_EQ(entities({"B-PER", "I-PER", "O", "B-LOC"}), "PER:0-2 LOC:3-4 ");
  EXPECT_EQ(entities({"B-PER", "B-PER"}), "PER:0-1 PER:1-2 ");
  EXPECT_EQ(entities({"I-PER", "I-LOC", "I-LOC"}), "PER:0-1 LOC:1-3 ");
  EXPECT_EQ(entities({"B-PER", "E-PER", "I-PER", "S-PER"}), "PER:0-2 PER:2-3 PER:3-4 ");
  EXPECT_EQ(entities({"B-A-B", "I-A-B"}), "A-B:0-2 ");
  EXPECT_EQ(entities({"B", "I", "O"}), "_:0-2 ");
  EXPECT_EQ(entities({"NOUN", "NOUN", "VERB"}), "NOUN:0-2 VERB:2-3 ");
  EXPECT_EQ(entities({}), "");
}

TEST(TokenLabels, WordsAndEntities) {
  Dataset data = Labelled(Task::kTokenLabels, {"O", "B-PER", "I-PER", "B-LOC"});
  data.examples = {{.words = {"Ada", "Byron", "sat"}, .word_labels = {1, 2, 0}},
                   {.words = {"Rome", "x"}, .word_labels = {3, 0}}};
  std::vector<TaskOutput> outputs(2);
  outputs[0].word_labels = {1, 0, 0};  // half an entity is none
  outputs[1].word_labels = {3, -1};    // the last word was cut off
  const TaskMetrics m = Compute(data, outputs);
  EXPECT_EQ(m.metrics[0].name, "f1");
  EXPECT_DOUBLE_EQ(Value(m, "f1"), 0.5);
  EXPECT_DOUBLE_EQ(Value(m, "precision"), 0.5);
  EXPECT_DOUBLE_EQ(Value(m, "macro_f1"), 0.5);
  EXPECT_DOUBLE_EQ(Value(m, "accuracy"), 0.6);
  EXPECT_EQ(m.per_label[0].label, "LOC");
  EXPECT_EQ(m.per_label[0].support, 1u);
  EXPECT_THAT(m.confusion, IsEmpty());
  outputs[1].word_labels = {3};
  EXPECT_THAT(ErrorOf(data, outputs), HasSubstr("example 2 has 2 words and 1 predicted labels"));
}

TEST(TokenLabels, WithoutEntitiesAccuracyComesFirst) {
  Dataset data = Labelled(Task::kTokenLabels, {"NOUN", "VERB"});
  data.examples = {{.words = {"a", "b"}, .word_labels = {0, 1}}};
  std::vector<TaskOutput> outputs(1);
  outputs[0].word_labels = {0, 0};
  const TaskMetrics m = Compute(data, outputs);
  EXPECT_EQ(m.metrics[0].name, "accuracy");
  EXPECT_DOUBLE_EQ(m.metrics[0].value, 0.5);
}

// --- What is the same for all

TEST(Intervals, HoldTheValueAndRepeat) {
  std::vector<std::pair<int, int>> pairs;
  for (int i = 0; i < 400; ++i) pairs.emplace_back(0, i % 5 == 0 ? 1 : 0);
  const SingleCase c = Single({"a", "b"}, pairs);
  const MetricOptions options{.bootstrap_samples = 2000, .seed = 7};
  const Metric accuracy = Compute(c.data, c.outputs, options).metrics[0];
  EXPECT_DOUBLE_EQ(accuracy.value, 0.8);
  // The binomial has a standard deviation of sqrt(0.8 * 0.2 / 400) = 0.02.
  EXPECT_NEAR(accuracy.low, 0.8 - 1.96 * 0.02, 0.006);
  EXPECT_NEAR(accuracy.high, 0.8 + 1.96 * 0.02, 0.006);
  const Metric again = Compute(c.data, c.outputs, options).metrics[0];
  EXPECT_EQ(accuracy.low, again.low);
  EXPECT_EQ(accuracy.high, again.high);
  EXPECT_EQ(Compute(c.data, c.outputs).metrics[0].low, 0.8);
}

TEST(Metrics, TheMainOneIsFirst) {
  const SingleCase c = Single({"a", "b"}, {{0, 0}, {1, 1}});
  const TaskMetrics m = Compute(c.data, c.outputs, {.bootstrap_samples = 0, .main = "matthews"});
  EXPECT_EQ(m.metrics[0].name, "matthews");
  EXPECT_EQ(m.metrics[1].name, "accuracy");
  EXPECT_THAT(ErrorOf(c.data, c.outputs, {.main = "bleu"}),
              HasSubstr("no metric 'bleu'; there are: accuracy"));
}

TEST(Metrics, OutputsThatDoNotFit) {
  SingleCase c = Single({"a", "b"}, {{0, 0}});
  c.data.examples[0].line = 7;
  EXPECT_THAT(ErrorOf(c.data, {}), HasSubstr("0 outputs for 1 examples"));
  c.outputs[0].scores[1] = std::nanf("");
  EXPECT_THAT(ErrorOf(c.data, c.outputs),
              HasSubstr("example 1 (line 7) has a score that is not a number"));
  c.outputs[0].scores = {1};
  EXPECT_THAT(ErrorOf(c.data, c.outputs), HasSubstr("fewer scores"));
  c.data.task = Task::kMaskedLm;
  EXPECT_THAT(ErrorOf(c.data, c.outputs), HasSubstr("has no metrics"));
}

}  // namespace
}  // namespace thimble
