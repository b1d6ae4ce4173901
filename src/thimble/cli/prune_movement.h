// thimble prune --method movement: masks are learned while the model is fine-tuned, what they leave is cut and timed.
#pragma once

#include <string>

#include "thimble/base/result.h"
#include "thimble/cli/training_options.h"
#include "thimble/compress/latency_table.h"

namespace thimble::cli {

struct MovementCall {
  TrainingCall training;  // with `movement`, the dense model as start and as teacher
  double fill_epochs =
      0;  // of training without masks afterwards, so that what is left becomes dense again
  compress::TimingOptions timing;
  std::string output;  // folder for pruned.thimble and report.json
  bool json = false;
};

Status RunMovement(MovementCall call);

}  // namespace thimble::cli
