#include "thimble/compress/speedup_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/compress/test_model.h"

namespace thimble::compress {
namespace {

using testing::HasSubstr;

// As if it were measured: a head of 4 takes 1, a column of 64 takes 1 / 16, what is not prunable 2.
LatencyTable TableOf(const Model& model) {
  LatencyTable table;
  table.structures = FindStructures(model.graph);
  table.fixed = 2;
  for (const Structure& s : table.structures) {
    const bool heads = s.kind == StructureKind::kHeads;
    table.units.emplace_back();
    table.seconds.emplace_back();
    for (int64_t u = s.units; u >= 0; u = u > 0 && u < 16 && !heads ? 0 : u - (heads ? 1 : 16)) {
      table.units.back().push_back(u);
      table.seconds.back().push_back(static_cast<double>(u) / (heads ? 1 : 16));
    }
  }
  table.dense = table.fixed;
  for (const std::vector<double>& seconds : table.seconds) table.dense += seconds[0];
  return table;
}

const TimingOptions kShort = {.tokens = 16, .rounds = 1, .seconds_per_time = 1e-5};
constexpr double kNoSlack =
    0;  // budgets are the targets'; with one attempt, what is measured decides nothing

TEST(SpeedupTarget, TheBudgetMovesTowardsThePromise) {
  LatencyTable table;
  table.dense = 12;
  table.fixed = 2;
  SpeedupTarget promise(table, 2, 0.1);
  EXPECT_DOUBLE_EQ(promise.budget(), 12 / 2.1);
  EXPECT_TRUE(promise.Kept(2));
  EXPECT_TRUE(promise.Kept(2.2));
  EXPECT_FALSE(promise.Kept(1.999));
  EXPECT_FALSE(promise.Kept(2.21));
  EXPECT_FALSE(promise.Settled(2.04));
  EXPECT_TRUE(promise.Settled(2.06));
  EXPECT_TRUE(promise.Settled(2.14));
  EXPECT_FALSE(promise.Settled(2.16));
  EXPECT_TRUE(promise.Better(2.05, 2.16));
  EXPECT_FALSE(promise.Better(1.9, 2.2));

  // A machine on which models take 1.2 times what the table says, and then one on which they take 0.8 times.
  for (const double truth : {1.2, 0.8}) {
    SpeedupTarget corrected(table, 2, 0.1);
    int steps = 0;
    while (!corrected.Settled(12 / (truth * corrected.budget())) && steps < 6) {
      corrected.Correct(12 / (truth * corrected.budget()));
      EXPECT_GT(corrected.budget(), table.fixed);
      EXPECT_LT(corrected.budget(), table.dense);
      ++steps;
    }
    EXPECT_EQ(steps, 1) << truth;
  }
}

TEST(SizesForSpeedup, FitTheBudgetAndFallAlike) {
  const Model model = TwoLayerModel(32, 64);
  const LatencyTable table = TableOf(model);  // dense: 2 + 4 * 4
  const Result<UniformSizes> sizes = SizesForSpeedup(model, table, 1.8, kNoSlack, 1, kShort);
  ASSERT_TRUE(sizes.has_value()) << sizes.error().message();
  // A budget of 10, of which 8 are for four structures that take 4 each: half of everything.
  ASSERT_EQ(sizes->units.size(), 4u);
  for (const Structure& s : table.structures) {
    EXPECT_EQ(sizes->units.at(s.name), s.units / 2) << s.name;
  }
  EXPECT_GT(sizes->measured.factor, 0);
}

TEST(SizesForSpeedup, AUnitOfEachStays) {
  const Model model = TwoLayerModel(32, 64);
  const LatencyTable table = TableOf(model);
  EXPECT_DOUBLE_EQ(LargestUniformSpeedup(table), 18.0 / 6);
  const Result<UniformSizes> least = SizesForSpeedup(model, table, 3, kNoSlack, 1, kShort);
  ASSERT_TRUE(least.has_value()) << least.error().message();
  for (const Structure& s : table.structures) {
    EXPECT_EQ(least->units.at(s.name), s.kind == StructureKind::kHeads ? 1 : 16);
  }
  const Result<UniformSizes> more = SizesForSpeedup(model, table, 3.1, kNoSlack, 1, kShort);
  ASSERT_FALSE(more.has_value());
  EXPECT_EQ(more.error().code(), ErrorCode::kLimitNotMet);
  EXPECT_THAT(more.error().message(), HasSubstr("at most 3x"));
}

}  // namespace
}  // namespace thimble::compress
