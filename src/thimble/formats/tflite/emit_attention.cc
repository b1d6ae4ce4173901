#include <limits>

#include "thimble/formats/tflite/emitter.h"

namespace thimble {

// A masked-out score absorbs what is added to it, so that where all keys are masked all count alike.
TfliteEmitter::Id TfliteEmitter::AdditiveMask() {
  if (additive_mask_ < 0) {
    const Id kept = Cast("mask", mask_, tfl::TensorType::INT32, tfl::TensorType::FLOAT32);
    const Id left_out = Op(Code::SUB, "mask", {writer_.Float(1), kept}, {batch_, sequence_});
    const Id scores =
        Same(Code::MUL, "mask", {left_out, writer_.Float(std::numeric_limits<float>::lowest())});
    additive_mask_ = Reshape("mask", scores, {batch_, 1, 1, sequence_});
  }
  return additive_mask_;
}

// An input of the node as [batch, heads, tokens, width / heads].
TfliteEmitter::Id TfliteEmitter::Heads(const Node& node, size_t input) {
  const auto heads = static_cast<int32_t>(std::get<AttentionAttrs>(node.attrs).heads);
  const int32_t width = static_cast<int32_t>(InType(node, input).width) / heads;
  const int32_t tokens = PerToken(node, input) ? sequence_ : 1;
  Id x = In(node, input);
  if (input == 0) {
    // The scale goes to the queries: fewer numbers than scores. XNNPACK takes no other factor of a softmax.
    const auto scale = static_cast<float>(std::get<AttentionAttrs>(node.attrs).scale);
    if (scale != 1) x = Same(Code::MUL, node.name, {x, writer_.Float(scale)});
  }
  return Transpose(node.name, Reshape(node.name, x, {batch_, tokens, heads, width}), {0, 2, 1, 3});
}

TfliteEmitter::Id TfliteEmitter::EmitAttention(const Node& node) {
  const auto heads = static_cast<int32_t>(std::get<AttentionAttrs>(node.attrs).heads);
  const int32_t width = static_cast<int32_t>(InType(node, 2).width);
  const int32_t queries = PerToken(node, 0) ? sequence_ : 1;
  const auto product = [&](bool transposed) {
    return TfliteWriter::Operator{
        .code = Code::BATCH_MATMUL,
        .type = tfl::BuiltinOptions::BatchMatMulOptions,
        .options = tfl::CreateBatchMatMulOptions(writer_.builder(), false, transposed).Union()};
  };
  const Id query = Heads(node, 0), key = Heads(node, 1), value = Heads(node, 2);
  const Id scores = Op(product(true), node.name, {query, key}, {batch_, heads, queries, sequence_});
  const Id masked = Same(Code::ADD, node.name, {scores, AdditiveMask()});
  const Id weights = Same(Code::SOFTMAX, node.name, {masked});
  const Id context =
      Op(product(false), node.name, {weights, value}, {batch_, heads, queries, width / heads});
  const int32_t rows = PerToken(node, 0) ? TokenRows() : batch_;
  return Reshape(node.name, Transpose(node.name, context, {0, 2, 1, 3}), {rows, width});
}

}  // namespace thimble
