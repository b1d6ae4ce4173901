#include "thimble/passes/weights_to_block_sparse.h"

#include "thimble/graph/block_sparse.h"
#include "thimble/passes/matrices.h"
#include "thimble/passes/passes.h"

// The weights of linears without their blocks of zeros, where that is faster: never larger or slower.
// float32 only: float16 and int8 are smaller than what most masks leave in float32.
namespace thimble {
namespace {

Result<Tensor> Sparsest(const Tensor& tensor) {
  const Tensor sparse = tensor.InLayout(Layout::kBlockSparse);
  return BlockDensity(sparse) < kBlockSparseBreakEven ? sparse : tensor;
}

}  // namespace

Result<Graph> WeightsToBlockSparse(const Graph& graph) {
  Graph result = graph;
  TiedConversion conversion(Sparsest);
  for (Node& node : result.nodes) {
    if (node.op != OpKind::kLinear) continue;
    const Tensor& weight = node.weights[0].tensor;
    if (weight.dtype() != DType::kF32 || weight.elements() > kMaxBlockSparseElements) continue;
    TRY_VOID(conversion.Apply(node.weights[0]));
  }
  return result;
}

}  // namespace thimble
