#include "thimble/targets/latency.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "thimble/runtime/test_graphs.h"

namespace thimble {
namespace {

TEST(Latency, GivesQuantilesOfWhatWasMeasured) {
  const Latency latency({5, 1, 4, 2, 3, 6, 7, 8, 9, 10});
  EXPECT_EQ(latency.runs(), 10u);
  EXPECT_EQ(latency.min(), 1);
  EXPECT_EQ(latency.median(), 5);
  EXPECT_EQ(latency.quantile(0.9), 9);
  EXPECT_EQ(latency.quantile(0.99), 10);
  EXPECT_EQ(latency.quantile(0), 1);
  EXPECT_DOUBLE_EQ(latency.mean(), 5.5);
}

TEST(Latency, MeasuresAsManyRunsAsAsked) {
  const Graph graph = TestGraph().Encoder();
  Result<Session> session = Session::Create(graph);
  const Batch batch = RandomBatch(graph, 2, 8);
  const auto exact = MeasureLatency(*session, batch, {.warmup_runs = 1, .runs = 7});
  ASSERT_TRUE(exact.has_value());
  EXPECT_EQ(exact->runs(), 7u);
  const auto timed = MeasureLatency(*session, batch, {.seconds = 0});
  ASSERT_TRUE(timed.has_value());
  EXPECT_EQ(timed->runs(), 5u);
  EXPECT_GT(timed->min(), 0);
}

TEST(Latency, RandomBatchesFitTheTables) {
  const Graph graph = TestGraph().Encoder();  // 50 words, 2 types
  const Batch batch = RandomBatch(graph, 3, 20);
  EXPECT_EQ(batch.sequences(), 3u);
  EXPECT_EQ(batch.tokens(), 60u);
  EXPECT_LT(*std::max_element(batch.ids().begin(), batch.ids().end()), 50);
  EXPECT_EQ(*std::max_element(batch.type_ids().begin(), batch.type_ids().end()), 1);
  const Batch again = RandomBatch(graph, 3, 20);
  EXPECT_TRUE(std::equal(batch.ids().begin(), batch.ids().end(), again.ids().begin()));
}

}  // namespace
}  // namespace thimble
