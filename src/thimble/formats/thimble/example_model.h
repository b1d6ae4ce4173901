// A small model that uses every kind of thing a .thimble file can hold, for tests and fuzzing.
#pragma once

#include "thimble/formats/model.h"

namespace thimble {

// `dtype` (one that FitsPanels) is the type of its matrices.
Model ExampleModel(DType dtype = DType::kF32);

}  // namespace thimble
