// What `train` and `distill` do: data in, a model that is trained on it, a .thimble file out.
#pragma once

#include "thimble/base/result.h"
#include "thimble/cli/training_options.h"

namespace thimble::cli {

Status RunTraining(TrainingCall call);

}  // namespace thimble::cli
