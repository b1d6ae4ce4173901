// Rounding weights to the type that others have.
#pragma once

#include "thimble/base/result.h"
#include "thimble/graph/tensor.h"

namespace thimble {

// `values` in the type of `like`: int8 by row, codes by group, float16; any other: float32. Row-major. kInvalidData: the type
// cannot hold a value.
Result<Tensor> QuantizedLike(const Tensor& values, const Tensor& like);

}  // namespace thimble
