// How fast ranks add up an array over the loopback interface: sum_bench RANKS MIB [ROUNDS].
// Ranks are threads of one process; what they send goes through the system's sockets all the same. Prints one JSON
// document: seconds per sum (median), and gigabytes per second that each rank sends.
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "thimble/train/libraries.h"
#include "thimble/train/process_group.h"

namespace {

using Clock = std::chrono::steady_clock;

// Seconds of each round, on this rank; empty after an error, which was printed.
std::vector<double> Measure(const thimble::train::RankPlace& place, int64_t floats, int rounds) {
  std::vector<double> seconds;
  const auto group = thimble::train::ProcessGroup::Join(place, /*timeout_seconds=*/60);
  if (!group.has_value()) {
    std::fprintf(stderr, "sum_bench: %s\n", group.error().message().c_str());
    return {};
  }
  at::Tensor values = at::zeros({floats});
  for (int round = -1; round < rounds; ++round) {  // the first warms up
    const auto begin = Clock::now();
    if (const auto status = (*group)->Sum(values); !status.has_value()) {
      std::fprintf(stderr, "sum_bench: %s\n", status.error().message().c_str());
      return {};
    }
    if (round >= 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  const int ranks = argc > 1 ? std::atoi(argv[1]) : 0;
  const double mib = argc > 2 ? std::atof(argv[2]) : 0;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 20;
  if (ranks < 2 || !(mib > 0) || rounds < 1) {
    std::fprintf(stderr, "usage: sum_bench RANKS MIB [ROUNDS]\n");
    return 2;
  }
  thimble::train::UseOneThreadPerCall();
  std::string folder = (std::filesystem::temp_directory_path() / "thimble-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return 1;
  const auto floats = static_cast<int64_t>(mib * 1024 * 1024 / sizeof(float));
  std::vector<double> seconds;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      auto measured =
          Measure({.rank = rank, .size = ranks, .file = folder + "/ranks"}, floats, rounds);
      if (rank == 0) seconds = std::move(measured);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::filesystem::remove_all(folder);
  if (seconds.empty()) return 1;
  std::nth_element(seconds.begin(), seconds.begin() + rounds / 2, seconds.end());
  const double median = seconds[static_cast<size_t>(rounds / 2)];
  const double sent = 2.0 * (ranks - 1) / ranks * static_cast<double>(floats) * sizeof(float);
  std::printf("{\"seconds\": %.6f, \"gigabytes_per_s\": %.3f}\n", median, sent / median / 1e9);
  return 0;
}
