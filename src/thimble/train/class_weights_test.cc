#include "thimble/train/class_weights.h"

#include <gtest/gtest.h>

#include <cmath>

namespace thimble::train {
namespace {

// Eight rows: label 0 six times, label 1 twice, label 2 never.
Dataset Rows(Task task) {
  Dataset data;
  data.task = task;
  data.labels = {"a", "b", "c"};
  for (int i = 0; i < 8; ++i) {
    thimble::Example row;
    row.labels = {i < 6 ? 0 : 1};
    data.examples.push_back(row);
  }
  return data;
}

TEST(LabelShares, CountRows) {
  EXPECT_EQ(LabelShares(Rows(Task::kSingleLabel)), (std::vector<float>{0.75f, 0.25f, 0.0625f}));
}

TEST(ClassWeights, BalanceWithMeanOne) {
  const auto w = ClassWeights(Rows(Task::kSingleLabel), ClassWeighting::kBalanced);
  // 1 / share has the mean 3 over all labels, the one without rows included.
  EXPECT_NEAR(w[0], 1 / 0.75 / 3, 1e-6);
  EXPECT_NEAR(w[1], 1 / 0.25 / 3, 1e-6);
  const auto root = ClassWeights(Rows(Task::kSingleLabel), ClassWeighting::kSqrt);
  EXPECT_NEAR(root[1] / root[0], std::sqrt(3.0), 1e-5);
  EXPECT_TRUE(ClassWeights(Rows(Task::kSingleLabel), ClassWeighting::kNone).empty());
}

TEST(ClassWeights, AreBoundedOddsForSeveralLabels) {
  const auto w = ClassWeights(Rows(Task::kMultiLabel), ClassWeighting::kBalanced);
  EXPECT_FLOAT_EQ(w[0], 1);  // odds of 1 / 3 against
  EXPECT_FLOAT_EQ(w[1], 3);
  EXPECT_FLOAT_EQ(w[2], 15);
}

TEST(ClassWeighting, IsKnownByName) {
  EXPECT_EQ(ClassWeightingFromName("sqrt"), ClassWeighting::kSqrt);
  EXPECT_FALSE(ClassWeightingFromName("squared").has_value());
}

}  // namespace
}  // namespace thimble::train
