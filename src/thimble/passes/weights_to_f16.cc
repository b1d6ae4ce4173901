// Rounds matrices and tables to float16. Biases and norms stay float32: they weigh nothing.
#include <cmath>

#include "thimble/base/half.h"
#include "thimble/passes/matrices.h"
#include "thimble/passes/passes.h"
#include "thimble/passes/to_half.h"

namespace thimble {

Result<Tensor> ToHalf(const Tensor& tensor) {
  const std::vector<float> values = tensor.ToFloats();
  std::vector<uint16_t> halves;
  halves.reserve(values.size());
  for (const float value : values) {
    halves.push_back(FloatToHalf(value));
    if (!std::isfinite(HalfToFloat(halves.back()))) {
      return InvalidData("has the value " + std::to_string(value) +
                         ", which float16 cannot hold: keep this model in f32 or use int8");
    }
  }
  return Tensor::Copy(DType::kF16, tensor.shape(), std::as_bytes(std::span(halves)));
}

Result<Graph> WeightsToF16(const Graph& graph) {
  Graph result = graph;
  TiedConversion conversion(ToHalf);
  for (Node& node : result.nodes) {
    for (size_t i = 0; i < node.weights.size(); ++i) {
      // What is quantized is smaller already.
      if (!IsMatrix(node, i) || IsQuantized(node.weights[i].tensor.dtype())) continue;
      TRY_VOID(conversion.Apply(node.weights[i]));
    }
  }
  return result;
}

}  // namespace thimble
