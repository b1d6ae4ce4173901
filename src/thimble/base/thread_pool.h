// A small pool for parallel loops whose body takes microseconds.
//
// Workers spin for a short while after each loop before they sleep, so that the hand-off between two
// loops of one inference costs about a microsecond; an idle pool uses no processor time.
// Non-goals: nested loops, futures, priorities. One loop at a time: a pool belongs to one session.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace thimble {

class ThreadPool {
 public:
  // `threads` counts the calling thread: 1 makes every loop a plain loop. At least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(index, thread) once for every index in [0, count), in any order and from any thread of
  // the pool, and returns when all are done; `thread` in [0, threads()) names the caller's scratch.
  // Body must not throw and must not use this pool.
  template <class Body>
  void ParallelFor(size_t count, const Body& body) {
    if (workers_.empty() || count < 2) {
      for (size_t i = 0; i < count; ++i) body(i, size_t{0});
      return;
    }
    Run(
        count, [](const void* b, size_t i, size_t t) { (*static_cast<const Body*>(b))(i, t); },
        &body);
  }

 private:
  using Call = void (*)(const void* body, size_t index, size_t thread);

  void Run(size_t count, Call call, const void* body);
  void Work(size_t thread);
  void WorkerLoop(size_t thread);

  // The loop in progress; written before `generation_` moves, read after.
  Call call_ = nullptr;
  const void* body_ = nullptr;
  size_t count_ = 0;

  // Separate cache lines: workers poll the first while others take work from the second.
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<size_t> next_{0};
  alignas(64) std::atomic<uint32_t> busy_{0};
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace thimble
