// Settings of the libraries under training that hold for the whole process.
#pragma once

namespace thimble::train {

// The trainer has its own threads, one shard each: libtorch, OpenMP and OpenBLAS compute each call on the thread
// that makes it. Two pools that fight over the same cores cost more than either gains.
void UseOneThreadPerCall();

// Lets one call use so many threads while it lives, for work outside of the trainer that is one large product after
// another; then one again.
class ThreadsPerCall {
 public:
  explicit ThreadsPerCall(int threads);
  ~ThreadsPerCall() { UseOneThreadPerCall(); }
  ThreadsPerCall(const ThreadsPerCall&) = delete;
  ThreadsPerCall& operator=(const ThreadsPerCall&) = delete;
};

}  // namespace thimble::train
