#include "thimble/train/schedule.h"

#include <gtest/gtest.h>

namespace thimble::train {
namespace {

TEST(Schedule, WarmsUpAndFallsLinearly) {
  const Schedule s{.kind = ScheduleKind::kLinear, .warmup_steps = 10, .total_steps = 110};
  EXPECT_DOUBLE_EQ(RateAt(s, 1), 0.1);
  EXPECT_DOUBLE_EQ(RateAt(s, 10), 1.0);
  EXPECT_DOUBLE_EQ(RateAt(s, 60), 0.5);
  EXPECT_DOUBLE_EQ(RateAt(s, 110), 0.0);
  EXPECT_DOUBLE_EQ(RateAt(s, 500), 0.0);
}

TEST(Schedule, FallsAsACosineToItsFinalShare) {
  const Schedule s{.kind = ScheduleKind::kCosine, .total_steps = 100, .final_share = 0.2};
  EXPECT_NEAR(RateAt(s, 50), 0.6, 1e-12);
  EXPECT_NEAR(RateAt(s, 100), 0.2, 1e-12);
}

TEST(Schedule, StaysConstant) {
  const Schedule s{.kind = ScheduleKind::kConstant, .total_steps = 100};
  EXPECT_DOUBLE_EQ(RateAt(s, 1), 1.0);
  EXPECT_DOUBLE_EQ(RateAt(s, 100), 1.0);
}

TEST(Schedule, IsKnownByName) {
  EXPECT_EQ(ScheduleFromName("cosine"), ScheduleKind::kCosine);
  EXPECT_FALSE(ScheduleFromName("cosin").has_value());
}

}  // namespace
}  // namespace thimble::train
