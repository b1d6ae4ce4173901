// A small model that uses every kind of thing a .thimble file can hold, for tests and fuzzing.
#pragma once

#include "thimble/formats/model.h"

namespace thimble {

// `dtype` (one that FitsPanels) is the type of its matrices.
Model ExampleModel(DType dtype = DType::kF32);

// The same in float32 with zeros in two linears, which are block-sparse: one has an empty panel, one a
// gap between its blocks.
Model BlockSparseExample();

}  // namespace thimble
