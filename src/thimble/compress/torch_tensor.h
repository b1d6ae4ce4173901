// Constants of graphs as tensors of libtorch, and back.
#pragma once

#include <algorithm>
#include <vector>

#include "thimble/graph/tensor.h"
#include "thimble/train/torch.h"

namespace thimble::compress {

// A copy as float32, whatever the type was.
inline at::Tensor ToTorch(const Tensor& tensor) {
  const std::vector<float> values = tensor.ToFloats();
  const at::Tensor t = at::empty(tensor.shape(), at::kFloat);
  std::copy(values.begin(), values.end(), t.data_ptr<float>());
  return t;
}

inline Tensor FromTorch(const at::Tensor& t) {
  const at::Tensor values = t.to(at::kFloat).contiguous();
  return Tensor::FromFloats(Shape(t.sizes().begin(), t.sizes().end()),
                            {values.data_ptr<float>(), static_cast<size_t>(values.numel())});
}

}  // namespace thimble::compress
