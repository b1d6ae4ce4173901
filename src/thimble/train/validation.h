// What a model says about a data set, computed by the runtime that will run it on the device.
#pragma once

#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/dataset.h"
#include "thimble/formats/model.h"
#include "thimble/metrics/metrics.h"

namespace thimble::train {

// The model as reading its .thimble file would give it: weights in the form that the runtime uses.
Result<Model> Packed(const Model& model);

// One output per example, in order. `model` must be packed.
Result<std::vector<TaskOutput>> PredictDataset(const Model& model, const Dataset& data,
                                               int threads);

}  // namespace thimble::train
