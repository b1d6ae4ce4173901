#include "thimble/passes/weights_to_int8.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "thimble/passes/matrices.h"
#include "thimble/passes/passes.h"
#include "thimble/passes/to_half.h"

// Quantizes matrices to int8, symmetric, with one scale per row: per output channel of a linear
// node, per word of a table. scale = max|w| / 127, so that -128 never occurs.
//
// Not everything is worth it:
//   - the last linear of a classifier stays as it is: its few rows save nothing, and in 17 of 20
//   small
//     models of every architecture the logits came closer to float32 for it, by up to a factor
//     of 1.8 (the decoder of a vocabulary is quantized: it is large);
//   - tables that are not indexed by token ids (positions, token types) become float16: all of them
//     together are a few percent of a model, and their rounding would be added to every word's.
namespace thimble {
namespace {

constexpr int64_t kLargestClassifier = 256;
constexpr float kLargestCode = 127;

bool ComputesLogits(const Graph& graph, const Node& node) {
  return node.weights[0].tensor.dim(0) <= kLargestClassifier &&
         std::any_of(graph.outputs.begin(), graph.outputs.end(),
                     [&](const GraphOutput& output) { return output.value == node.output; });
}

bool IsWordTable(const Graph& graph, const Node& node) {
  return node.op == OpKind::kEmbedding && graph.value(node.inputs[0]).name == kInputIds;
}

// Fills q from one row and returns its scale; NaN if a value is not finite.
float QuantizeRow(std::span<const float> row, int8_t* q) {
  float largest = 0;
  for (const float value : row) {
    if (!std::isfinite(value)) return NAN;
    largest = std::max(largest, std::abs(value));
  }
  const float scale = largest / kLargestCode;
  for (size_t i = 0; i < row.size(); ++i) {
    // A row of zeros, or of numbers so small that their scale is zero.
    const float code = scale == 0 ? 0 : std::nearbyint(row[i] / scale);
    q[i] = static_cast<int8_t>(std::clamp(code, -kLargestCode, kLargestCode));
  }
  return scale;
}

}  // namespace

Result<Tensor> ToInt8(const Tensor& tensor) {
  if (tensor.dtype() == DType::kI8) return tensor;
  const std::vector<float> values = tensor.ToFloats();
  const auto rows = static_cast<size_t>(tensor.dim(0));
  const auto width = static_cast<size_t>(tensor.dim(1));
  std::vector<int8_t> codes(values.size());
  auto scales = std::make_shared<std::vector<float>>(rows);
  for (size_t r = 0; r < rows; ++r) {
    const float scale =
        QuantizeRow(std::span(values).subspan(r * width, width), codes.data() + r * width);
    if (std::isnan(scale)) {
      return InvalidData("has values that are not finite in row " + std::to_string(r));
    }
    (*scales)[r] = scale;
  }
  const std::span<const float> view(*scales);
  return Tensor::Copy(DType::kI8, tensor.shape(), std::as_bytes(std::span(codes)))
      .WithScales(view, std::move(scales));
}

bool BecomesInt8(const Graph& graph, const Node& node) {
  if (node.weights.empty() || !IsMatrix(node, 0)) return false;
  return node.op == OpKind::kLinear ? !ComputesLogits(graph, node) : IsWordTable(graph, node);
}

Result<Graph> WeightsToInt8Where(const Graph& graph,
                                 const std::function<bool(const Node&)>& chosen) {
  Graph result = graph;
  TiedConversion to_int8(ToInt8);
  for (Node& node : result.nodes) {
    if (BecomesInt8(graph, node) && chosen(node)) TRY_VOID(to_int8.Apply(node.weights[0]));
  }
  return result;
}

Result<Graph> OtherTablesToHalf(const Graph& graph) {
  Graph result = graph;
  TiedConversion to_half(ToHalf);
  for (Node& node : result.nodes) {
    const bool table = node.op == OpKind::kEmbedding && !IsWordTable(graph, node);
    if (table && !IsQuantized(node.weights[0].tensor.dtype())) {
      TRY_VOID(to_half.Apply(node.weights[0]));
    }
  }
  return result;
}

Result<Graph> WeightsToInt8(const Graph& graph) {
  TRY(const Graph result, WeightsToInt8Where(graph, [](const Node&) { return true; }));
  return OtherTablesToHalf(result);
}

}  // namespace thimble
