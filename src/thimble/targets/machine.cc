#include "thimble/targets/machine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "thimble/base/clock.h"
#include "thimble/base/thread_pool.h"
#include "thimble/targets/peak_loops.h"

namespace thimble {
namespace {

// Calls slice(thread) on all threads at once until the time is up; the shortest round counts.
template <class Slice>
double ShortestRound(int threads, double seconds, const Slice& slice) {
  ThreadPool pool(threads);
  double best = 1e30;
  const auto start = Clock::now();
  do {
    const auto round = Clock::now();
    pool.ParallelFor(static_cast<size_t>(threads), [&](size_t i, size_t) { slice(i); });
    best = std::min(best, SecondsSince(round));
  } while (SecondsSince(start) < seconds);
  return best;
}

// Seconds since the start of the system that its processors were not idle, all together; negative if it does not tell.
double BusySeconds() {
  std::ifstream stat("/proc/stat");
  std::string line;
  if (!std::getline(stat, line)) return -1;
  std::istringstream fields(line);
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, steal = 0;
  if (!(fields >> cpu >> user >> nice >> system >> idle >> wait >> irq >> softirq >> steal))
    return -1;
  return (user + nice + system + irq + softirq + steal) /
         static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

OtherLoad::OtherLoad() : busy_(BusySeconds()) {}

double OtherLoad::Processors() {
  const double busy = BusySeconds();
  const Usage own = own_.Read();
  if (busy < 0 || busy_ < 0 || own.wall_seconds <= 0) return -1;
  return std::max(0.0, busy - busy_ - own.cpu_seconds) / own.wall_seconds;
}

double MeasureMultiplyPeak(MultiplyKind kind, std::string_view isa, int threads, double seconds) {
  const PeakLoop loop = FindPeakLoop(kind, isa);
  if (loop == nullptr) return 0;
  constexpr uint64_t kSteps = 200000;
  std::vector<uint64_t> macs(static_cast<size_t>(threads));
  const double best = ShortestRound(threads, seconds, [&](size_t i) { macs[i] = loop(kSteps); });
  return 2.0 * static_cast<double>(macs[0]) * threads / best;
}

double MeasureReadBandwidth(int threads, double seconds) {
  constexpr size_t kBytesPerThread = size_t{192} << 20;
  std::vector<std::vector<uint64_t>> buffers(static_cast<size_t>(threads));
  for (auto& buffer : buffers) buffer.assign(kBytesPerThread / sizeof(uint64_t), 1);
  std::vector<uint64_t> sums(buffers.size());
  const double best = ShortestRound(threads, seconds, [&](size_t i) {
    uint64_t sum = 0;
    for (const uint64_t word : buffers[i]) sum += word;
    sums[i] = sum;
  });
  // The sums are needed, so that the reads are.
  const bool read = std::all_of(sums.begin(), sums.end(), [](uint64_t s) { return s != 0; });
  return read ? static_cast<double>(kBytesPerThread) * threads / best : 0;
}

std::string ProcessorName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    for (const std::string_view key : {"model name", "Model", "uarch"}) {
      if (line.compare(0, key.size(), key) != 0) continue;
      const size_t colon = line.find(": ");
      if (colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "unknown processor";
}

uint64_t PeakResidentBytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace thimble
