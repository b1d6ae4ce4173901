// The processes of one training run, as a command line starts them.
#pragma once

#include <memory>

#include "thimble/base/result.h"
#include "thimble/train/process_group.h"

namespace thimble::cli {

// Joins the processes that mpirun, torchrun or srun started; where there are none and `processes` is more than one,
// starts them on this machine and returns in each. The process that was called stays behind, passes on signals and
// ends with the exit code of the first that failed, after it has ended the others. Null: one process alone.
Result<std::unique_ptr<train::ProcessGroup>> JoinRanks(int processes, double timeout_seconds);

// What this rank makes of its outcome: of all ranks that fail, the first one tells why, and the others return its
// error without text.
Status OneVoice(Status status, train::ProcessGroup& group);

}  // namespace thimble::cli
