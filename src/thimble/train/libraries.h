// Settings of the libraries under training that hold for the whole process.
#pragma once

namespace thimble::train {

// The trainer has its own threads, one shard each: libtorch, OpenMP and OpenBLAS compute each call on the thread
// that makes it. Two pools that fight over the same cores cost more than either gains.
void UseOneThreadPerCall();

}  // namespace thimble::train
