#include "thimble/passes/quantized_like.h"

#include "thimble/passes/to_half.h"
#include "thimble/passes/weights_by_group.h"
#include "thimble/passes/weights_to_int8.h"

namespace thimble {

Result<Tensor> QuantizedLike(const Tensor& values, const Tensor& like) {
  switch (like.dtype()) {
    case DType::kI8:
      return ToInt8(values);
    case DType::kI8Group:
    case DType::kI4Group:
      return ToGroups(values, {like.dtype(), like.scale_group()});
    case DType::kF16:
      return ToHalf(values);
    default:
      return Tensor::FromFloats(values.shape(), values.ToFloats());
  }
}

}  // namespace thimble
