// Widens every constant to float32, dequantized where it has scales and dense where it was block-sparse: exact for
// float16 and bfloat16. Scales of inputs go: they are those of int8 products.
#include "thimble/passes/matrices.h"
#include "thimble/passes/passes.h"

namespace thimble {

Result<Graph> WeightsToF32(const Graph& graph) {
  Graph result = graph;
  TiedConversion conversion([](const Tensor& tensor) -> Result<Tensor> {
    return Tensor::FromFloats(tensor.shape(), tensor.ToFloats());
  });
  for (Node& node : result.nodes) {
    if (node.op == OpKind::kLinear) node.attrs = LinearAttrs{};
    for (Weight& weight : node.weights) {
      const bool dense = weight.tensor.layout() != Layout::kBlockSparse;
      if (weight.tensor.dtype() == DType::kF32 && dense) continue;
      TRY_VOID(conversion.Apply(weight));
    }
  }
  return result;
}

}  // namespace thimble
