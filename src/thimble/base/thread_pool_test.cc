#include "thimble/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace thimble {
namespace {

TEST(ThreadPool, CallsEveryIndexOnce) {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const size_t count : {0, 1, 2, 3, 7, 100}) {
      std::vector<std::atomic<int>> calls(count);
      pool.ParallelFor(count, [&](size_t i, size_t thread) {
        ASSERT_LT(thread, static_cast<size_t>(threads));
        calls[i].fetch_add(1);
      });
      for (const auto& c : calls) EXPECT_EQ(c.load(), 1);
    }
  }
}

TEST(ThreadPool, LoopsFollowEachOtherWithoutMixing) {
  ThreadPool pool(3);
  std::vector<int> data(64, 0);
  for (int round = 0; round < 2000; ++round) {
    pool.ParallelFor(data.size(), [&](size_t i, size_t) { data[i] += round; });
  }
  const int expected = 1999 * 2000 / 2;
  for (const int d : data) EXPECT_EQ(d, expected);
}

TEST(ThreadPool, WakesUpAfterSleeping) {
  ThreadPool pool(2);
  std::atomic<int> calls{0};
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    pool.ParallelFor(4, [&](size_t, size_t) { calls.fetch_add(1); });
  }
  EXPECT_EQ(calls.load(), 20);
}

TEST(ThreadPool, CountsFromOne) {
  ThreadPool pool(0);
  EXPECT_EQ(pool.threads(), 1);
}

}  // namespace
}  // namespace thimble
