// Rounding a tensor to float16.
#pragma once

#include "thimble/base/result.h"
#include "thimble/graph/tensor.h"

namespace thimble {

// Row-major, rounded to nearest even. Values that float16 cannot hold are an error.
Result<Tensor> ToHalf(const Tensor& tensor);

}  // namespace thimble
