// Data augmentation: what is changed about an example each time that it is used.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/task.h"
#include "thimble/train/examples.h"

namespace thimble::train {

// Gives the example that is used instead. `step_key` and the example's own key decide what is random, so that a run
// repeats. `number` and `key` must stay: a teacher's outputs are found by them, and are those of the whole text.
// Called from one thread.
using Augment = std::function<TrainingExample(const TrainingExample& example, uint32_t step_key)>;

// Leaves out each token with this probability, but not all and none of `kept_ids` (Iyyer et al. 2015, "word
// dropout"). For tasks that say one thing about a text; kInvalidArgument for others.
Result<Augment> TokenDropout(double probability, std::vector<int32_t> kept_ids, Task task);

}  // namespace thimble::train
