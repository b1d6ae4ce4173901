// A model's outputs on a data set, as metrics read them: what `eval` measures and training validates with.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/dataset.h"
#include "thimble/graph/task.h"
#include "thimble/metrics/metrics.h"
#include "thimble/runtime/predictor.h"

namespace thimble {

struct DatasetOutputs {
  std::vector<TaskOutput> outputs;  // one per example, in order
  size_t truncated = 0;             // examples that were too long
  double seconds = 0;               // of prediction, tokenizing included
};

// `task` is the model's. `progress` hears how many examples are done; an error it returns stops the run. Errors name
// the line of the data.
Result<DatasetOutputs> PredictDataset(Predictor& predictor, Task task, const Dataset& data,
                                      size_t batch = 32,
                                      const std::function<Status(size_t)>& progress = {});

}  // namespace thimble
