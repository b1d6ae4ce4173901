#include "thimble/train/augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thimble::train {
namespace {

using ::testing::ElementsAre;

constexpr int32_t kCls = 1, kSep = 2;

TrainingExample Example(size_t tokens, uint32_t key) {
  TrainingExample e;
  e.ids.push_back(kCls);
  for (size_t i = 0; i < tokens; ++i) e.ids.push_back(static_cast<int32_t>(10 + i));
  e.ids.push_back(kSep);
  e.labels = {3};
  e.number = 7;
  e.key = key;
  return e;
}

TEST(TokenDropoutTest, LeavesOutTheGivenShareAndKeepsTheRest) {
  const Augment drop = *TokenDropout(0.25, {kCls, kSep}, Task::kSingleLabel);
  size_t kept = 0;
  constexpr size_t kTexts = 400, kTokens = 25;
  for (uint32_t i = 0; i < kTexts; ++i) {
    const TrainingExample e = drop(Example(kTokens, i), 5);
    EXPECT_EQ(e.ids.front(), kCls);
    EXPECT_EQ(e.ids.back(), kSep);
    EXPECT_TRUE(std::is_sorted(e.ids.begin() + 1, e.ids.end() - 1));
    EXPECT_THAT(e.labels, ElementsAre(3));
    EXPECT_EQ(e.number, 7u);
    EXPECT_EQ(e.key, i);
    kept += e.ids.size() - 2;
  }
  // Ten thousand draws: the standard deviation of the share is 0.0043.
  EXPECT_NEAR(static_cast<double>(kept) / (kTexts * kTokens), 0.75, 5 * 0.0043);
}

TEST(TokenDropoutTest, DependsOnStepAndExampleAlone) {
  const Augment drop = *TokenDropout(0.5, {}, Task::kMultiLabel);
  EXPECT_EQ(drop(Example(30, 1), 1).ids, drop(Example(30, 1), 1).ids);
  EXPECT_NE(drop(Example(30, 1), 1).ids, drop(Example(30, 1), 2).ids);
  EXPECT_NE(drop(Example(30, 1), 1).ids, drop(Example(30, 2), 1).ids);
}

TEST(TokenDropoutTest, TypesStayWithTheirTokens) {
  TrainingExample e = Example(20, 1);
  e.type_ids = e.ids;
  const TrainingExample changed = (*TokenDropout(0.5, {kCls, kSep}, Task::kSingleLabel))(e, 1);
  EXPECT_LT(changed.ids.size(), e.ids.size());
  EXPECT_EQ(changed.type_ids, changed.ids);
}

TEST(TokenDropoutTest, SomethingStays) {
  const Augment drop = *TokenDropout(0.95, {kCls, kSep}, Task::kSingleLabel);
  for (uint32_t i = 0; i < 200; ++i) EXPECT_GT(drop(Example(2, i), 1).ids.size(), 2u);
}

TEST(TokenDropoutTest, RefusesWhatItCannotDo) {
  EXPECT_FALSE(TokenDropout(0, {}, Task::kSingleLabel).has_value());
  EXPECT_FALSE(TokenDropout(1, {}, Task::kSingleLabel).has_value());
  EXPECT_FALSE(TokenDropout(0.1, {}, Task::kTokenLabels).has_value());
  EXPECT_FALSE(TokenDropout(0.1, {}, Task::kAnswers).has_value());
}

}  // namespace
}  // namespace thimble::train
