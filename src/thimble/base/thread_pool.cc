#include "thimble/base/thread_pool.h"

#include <algorithm>
#include <chrono>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace thimble {
namespace {

// Long enough to cover the serial part between two loops of one inference, short enough that a pool
// that is no longer used stops burning a core at once.
constexpr auto kSpin = std::chrono::microseconds(100);
constexpr int kPollsPerClockRead = 64;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__) || defined(__arm__)
  asm volatile("yield");
#endif
}

// Polls until done() or the time is up; says whether done() held.
template <class Done>
bool SpinUntil(const Done& done) {
  for (int i = 0; i < kPollsPerClockRead; ++i) {
    if (done()) return true;
    Pause();
  }
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPollsPerClockRead; ++i) {
      if (done()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return done();
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  const auto workers = static_cast<size_t>(std::max(threads, 1) - 1);
  workers_.reserve(workers);
  for (size_t i = 0; i < workers; ++i) workers_.emplace_back([this, i] { WorkerLoop(i + 1); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Run(size_t count, Call call, const void* body) {
  call_ = call;
  body_ = body;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1);  // publishes the fields above
  if (sleepers_.load() != 0) generation_.notify_all();
  Work(0);
  // Every worker checks in, so none can still look at this loop when the next one is set up.
  while (!SpinUntil([this] { return busy_.load(std::memory_order_acquire) == 0; })) {
    const uint32_t busy = busy_.load(std::memory_order_acquire);
    if (busy != 0) busy_.wait(busy, std::memory_order_acquire);
  }
}

void ThreadPool::Work(size_t thread) {
  for (size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) {
    call_(body_, i, thread);
  }
}

void ThreadPool::WorkerLoop(size_t thread) {
  uint32_t seen = 0;
  while (true) {
    const auto moved = [&] { return generation_.load(std::memory_order_acquire) != seen; };
    if (!SpinUntil(moved)) {
      sleepers_.fetch_add(1);
      while (!moved()) generation_.wait(seen);
      sleepers_.fetch_sub(1);
    }
    if (stop_.load()) return;
    ++seen;  // one loop at a time: the generation can be only one ahead
    Work(thread);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
}

}  // namespace thimble
