// Checks that shape rules share. Messages say what an operation wants and what it got; the caller adds
// the node's name.
#pragma once

#include <string>

#include "thimble/graph/ops.h"

namespace thimble {

Status CheckInputCount(const OpContext& c, size_t count);
Status CheckWeightCount(const OpContext& c, size_t least, size_t most);
Status CheckFloatInputs(const OpContext& c);
// A row-major vector of `width` floats of any precision, as biases and gains are.
Status CheckVector(const OpContext& c, size_t weight, int64_t width);
// A matrix that products or lookups can read: float, or int8 with scales. Panels hold f32, f16 and i8.
Status CheckMatrix(const OpContext& c, size_t weight);

double WeightBytes(const OpContext& c);

// Elementwise operations: one float input, the output has its type.
Result<ValueType> InferElementwise(const OpContext& c);
Cost NoProducts(const OpContext& c, const Workload& workload);

ReferenceValue MakeFloats(ValueType type, size_t rows);

}  // namespace thimble
