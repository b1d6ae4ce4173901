// The three functions of every operation; each lives in the file that ops.inc names.
#pragma once

#include "thimble/graph/ops.h"

namespace thimble {

#define OP(enumerator, name, file, Function, Attrs)                                        \
  Result<ValueType> Infer##Function(const OpContext& c);                                   \
  Cost Cost##Function(const OpContext& c, const Workload& workload);                       \
  Result<ReferenceValue> Reference##Function(const OpContext& c, const PackedBatch& batch, \
                                             std::span<const ReferenceValue* const> inputs);
#include "thimble/graph/ops.inc"
#undef OP

}  // namespace thimble
