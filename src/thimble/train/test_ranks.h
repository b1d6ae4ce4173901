// Ranks as threads of one process, for the tests of this folder.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "thimble/train/process_group.h"

namespace thimble::train {

inline constexpr double kTestTimeoutSeconds = 60;

// Runs body(group) on `size` ranks; a rank leaves when its body returns.
inline void OnRanks(int size, const std::function<void(ProcessGroup&)>& body,
                    double timeout_seconds = kTestTimeoutSeconds) {
  std::string folder = testing::TempDir() + "thimble-ranks-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      const auto group = ProcessGroup::Join({.rank = rank, .size = size, .file = folder + "/ranks"},
                                            timeout_seconds);
      ASSERT_TRUE(group.has_value()) << group.error().message();
      body(**group);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::filesystem::remove_all(folder);
}

}  // namespace thimble::train
