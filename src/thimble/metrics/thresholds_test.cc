#include "thimble/metrics/thresholds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thimble {
namespace {

using ::testing::HasSubstr;

struct Case {
  Dataset data;
  std::vector<TaskOutput> outputs;

  explicit Case(size_t labels) {
    data.task = Task::kMultiLabel;
    for (size_t i = 0; i < labels; ++i) data.labels.push_back("l" + std::to_string(i));
    data.known_labels = labels;
  }
  void Add(std::vector<float> scores, std::vector<int32_t> gold) {
    data.examples.push_back({.labels = std::move(gold)});
    outputs.push_back({.scores = std::move(scores)});
  }
  TunedThresholds Tune(size_t min_support) const {
    const auto tuned = TuneThresholds(data, outputs, {.min_support = min_support});
    if (tuned.has_value()) return *tuned;
    ADD_FAILURE() << tuned.error().message();
    return {};
  }
};

TEST(Thresholds, TheCutThatSeparates) {
  Case c(2);
  c.Add({0.1f, 0.9f}, {});
  c.Add({0.2f, 0.8f}, {0});
  c.Add({0.3f, 0.97f}, {0, 1});
  const TunedThresholds tuned = c.Tune(1);
  EXPECT_FLOAT_EQ(tuned.per_label[0], 0.15f);
  EXPECT_FLOAT_EQ(tuned.per_label[1], 0.935f);
  EXPECT_DOUBLE_EQ(tuned.macro_f1_per_label, 1);
  // At 0.5 the first label is never found (F1 0) and the second always (1 of 3 right: F1 0.5).
  EXPECT_DOUBLE_EQ(tuned.macro_f1_default, 0.25);
  // One for both: at most 0.2 finds both examples of the first (F1 1 above 0.1), the second stays 0.5.
  EXPECT_FLOAT_EQ(tuned.global, 0.2f);
  EXPECT_DOUBLE_EQ(tuned.macro_f1_global, 0.75);
}

TEST(Thresholds, TiesGoTowardsOneHalf) {
  Case c(1);
  c.Add({0.9f}, {0});
  c.Add({0.1f}, {});
  const TunedThresholds tuned = c.Tune(1);
  EXPECT_EQ(tuned.per_label[0], 0.5f);
  EXPECT_EQ(tuned.global, 0.5f);
  // Two cuts have F1 2/3: 0.75 above the second score, and 0.05 below all; 0.75 is nearer to 0.5.
  Case ties(1);
  ties.Add({0.9f}, {0});
  ties.Add({0.6f}, {});
  ties.Add({0.2f}, {});
  ties.Add({0.1f}, {0});
  EXPECT_FLOAT_EQ(ties.Tune(1).per_label[0], 0.75f);
}

TEST(Thresholds, RareLabelsTakeTheGlobalOne) {
  Case c(2);
  for (int i = 0; i < 10; ++i) c.Add({0.30f + 0.01f * static_cast<float>(i), 0.2f}, {0});
  for (int i = 0; i < 10; ++i) c.Add({0.1f, 0.1f}, {});
  c.Add({0.1f, 0.12f}, {1});
  const TunedThresholds tuned = c.Tune(5);
  EXPECT_EQ(tuned.below_support, 1u);
  EXPECT_EQ(tuned.per_label[1], tuned.global);
  EXPECT_FLOAT_EQ(tuned.per_label[0], 0.2f);
  EXPECT_EQ(c.Tune(1).below_support, 0u);
}

TEST(Thresholds, EqualScoresAreNotTornApart) {
  Case c(1);
  for (int i = 0; i < 4; ++i)
    c.Add({0.7f}, i < 2 ? std::vector<int32_t>{0} : std::vector<int32_t>{});
  EXPECT_EQ(c.Tune(1).per_label[0], 0.5f);
  EXPECT_DOUBLE_EQ(c.Tune(1).macro_f1_per_label, 2.0 / 3);
}

TEST(Thresholds, WhatCannotBeTuned) {
  Case c(1);
  c.Add({1.5f}, {0});
  EXPECT_THAT(TuneThresholds(c.data, c.outputs).error().message(),
              HasSubstr("example 1 has too few scores, or one that is no probability"));
  EXPECT_THAT(TuneThresholds(c.data, {}).error().message(), HasSubstr("0 outputs for 1 examples"));
  c.data.task = Task::kSingleLabel;
  EXPECT_THAT(TuneThresholds(c.data, c.outputs).error().message(),
              HasSubstr("not for single_label"));
}

}  // namespace
}  // namespace thimble
