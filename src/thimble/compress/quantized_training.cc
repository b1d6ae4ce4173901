#include "thimble/compress/quantized_training.h"

#include <algorithm>
#include <span>

#include "thimble/passes/quantized_like.h"

namespace thimble::compress {

QuantizedWeights::QuantizedWeights(const Graph& quantized) {
  for (const Node& node : quantized.nodes) {
    for (const Weight& weight : node.weights) {
      if (weight.tensor.dtype() == DType::kF32) continue;
      types_.emplace_back(weight.name, weight.tensor);
    }
  }
}

void QuantizedWeights::Use(const train::ParameterSet& trained, const at::Tensor& values, double,
                           at::Tensor used) const {
  used.copy_(values);
  for (const train::Parameter& p : trained.parameters()) {
    const auto type = std::find_if(types_.begin(), types_.end(),
                                   [&](const auto& known) { return known.first == p.name; });
    if (!p.trainable || type == types_.end()) continue;
    const at::Tensor host = values.narrow(0, p.offset, p.count).cpu().contiguous();
    const std::span<const float> floats(host.data_ptr<float>(), static_cast<size_t>(p.count));
    const Result<Tensor> codes = QuantizedLike(Tensor::FromFloats(p.shape, floats), type->second);
    if (!codes.has_value()) continue;
    std::vector<float> rounded = codes->ToFloats();
    used.narrow(0, p.offset, p.count).copy_(at::from_blob(rounded.data(), {p.count}, at::kFloat));
  }
}

Graph FloatWeights(const Graph& original, const Graph& quantized) {
  Graph result = quantized;
  for (size_t i = 0; i < result.nodes.size(); ++i) {
    std::vector<Weight>& weights = result.nodes[i].weights;
    if (weights.empty() || !IsQuantized(weights[0].tensor.dtype())) continue;
    weights[0].tensor = original.nodes[i].weights[0].tensor;
  }
  return result;
}

Result<Graph> WithTypesOf(const Graph& trained, const Graph& quantized) {
  Graph result = trained;
  // Each weight once, however many nodes share it in this type.
  std::vector<std::pair<Tensor, Tensor>> done;
  for (Node& node : result.nodes) {
    const Node* like = quantized.FindNode(node.name);
    if (like == nullptr || like->op != node.op) continue;
    node.attrs = like->attrs;
    for (size_t w = 0; w < node.weights.size() && w < like->weights.size(); ++w) {
      Tensor& tensor = node.weights[w].tensor;
      const Tensor& type = like->weights[w].tensor;
      const auto known = std::find_if(done.begin(), done.end(), [&](const auto& pair) {
        return pair.first.SameAs(tensor) && pair.second.dtype() == type.dtype() &&
               pair.second.scale_group() == type.scale_group();
      });
      if (known != done.end()) {
        tensor = known->second;
        continue;
      }
      Result<Tensor> converted = QuantizedLike(tensor, type);
      if (!converted)
        return std::move(converted).error().In("weight '" + node.weights[w].name + "'");
      done.emplace_back(tensor, *converted);
      tensor = *std::move(converted);
    }
  }
  return result;
}

std::vector<bool> RoundedRows(const Graph& trained, const Graph& quantized) {
  std::vector<bool> rounded;
  for (const Node& node : trained.nodes) {
    const Node* like = quantized.FindNode(node.name);
    rounded.push_back(like != nullptr && like->op == OpKind::kLinear &&
                      like->weights[0].tensor.dtype() == DType::kI8 &&
                      std::get<LinearAttrs>(like->attrs).input_scale == 0);
  }
  return rounded;
}

}  // namespace thimble::compress
