#include <limits>

#include "thimble/formats/onnx/emitter.h"

namespace thimble {

const std::string& OnnxEmitter::AdditiveMask() {
  if (additive_mask_.empty()) {
    const std::string mask = onnx_.Node("Unsqueeze", "mask/Unsqueeze",
                                        {{std::string(kAttentionMask), onnx_.Int64s({{1, 2}})}});
    const std::string kept = onnx_.Node("Cast", "mask/Cast", {{mask}}, {{{"to", kOnnxFloat}}});
    const std::string left_out = onnx_.Node("Sub", "mask/Sub", {{onnx_.Float(1), kept}});
    additive_mask_ = onnx_.Node("Mul", "mask/Mul",
                                {{left_out, onnx_.Float(std::numeric_limits<float>::lowest())}});
  }
  return additive_mask_;
}

// An input of the node as [batch, tokens, heads, width / heads], then in the order given.
std::string OnnxEmitter::Heads(const Node& node, size_t input, std::vector<int64_t> order) {
  const int64_t heads = std::get_if<AttentionAttrs>(&node.attrs)->heads;
  const int64_t width = InType(node, input).width / heads;
  const std::string shape =
      PerToken(node, input) ? BatchShape({heads, width}) : onnx_.Int64s({{-1, 1, heads, width}});
  return Op("Transpose", node, {Op("Reshape", node, {In(node, input), shape})},
            {{"perm", std::move(order)}});
}

std::string OnnxEmitter::EmitAttention(const Node& node) {
  const auto scale = static_cast<float>(std::get_if<AttentionAttrs>(&node.attrs)->scale);
  const std::string query = Heads(node, 0, {0, 2, 1, 3});
  const std::string key = Heads(node, 1, {0, 2, 3, 1});
  const std::string value = Heads(node, 2, {0, 2, 1, 3});
  const std::string scores =
      Op("Mul", node, {Op("MatMul", node, {query, key}), onnx_.Float(scale)});
  const std::string weights =
      Op("Softmax", node, {Op("Add", node, {scores, AdditiveMask()})}, {{"axis", int64_t{-1}}});
  const std::string context = Op("Transpose", node, {Op("MatMul", node, {weights, value})},
                                 {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  return Op("Reshape", node, {context, onnx_.Int64s({{-1, InType(node, 2).width}})});
}

}  // namespace thimble
