// Everything that is neither product nor attention.
#include <cmath>
#include <limits>
#include <numbers>

#include "thimble/formats/onnx/emitter.h"

namespace thimble {

// A running count along each sequence: of all tokens, or of those that are not skipped; a skipped
// one gets offset - 1.
std::string OnnxEmitter::EmitPositionIds(const Node& node) {
  const auto& attrs = *std::get_if<PositionIdsAttrs>(&node.attrs);
  const bool skips = attrs.skip_id >= 0;
  const std::string ids = Op("Reshape", node, {In(node), BatchShape({})});
  std::string counted;
  if (skips) {
    const std::string skipped = Op("Equal", node, {ids, onnx_.Int64(attrs.skip_id)});
    counted = Op("Cast", node, {Op("Not", node, {skipped})}, {{"to", kOnnxInt64}});
  } else {
    counted = Op("Add", node, {Op("Sub", node, {ids, ids}), onnx_.Int64(1)});
  }
  std::string count = Op("CumSum", node, {counted, onnx_.Int64(1)});
  if (skips) count = Op("Mul", node, {count, counted});
  const std::string positions = Op("Add", node, {count, onnx_.Int64(attrs.offset - 1)});
  return Op("Reshape", node, {positions, onnx_.Int64s({{-1}})});
}

std::string OnnxEmitter::EmitEmbedding(const Node& node) {
  const Weight& table = node.weights[0];
  if (table.tensor.dtype() != DType::kI8) {
    return Op("Gather", node, {Constant(table), In(node)}, {{"axis", int64_t{0}}});
  }
  const std::string codes = Cached(table, "row codes", [&] {
    const auto bytes = table.tensor.data();
    return onnx_.Bytes(table.name, table.tensor.shape(),
                       {reinterpret_cast<const int8_t*>(bytes.data()), bytes.size()});
  });
  const std::string scales = Cached(table, "row scales", [&] {
    return onnx_.Floats(table.name + "/scales", {table.tensor.dim(0), 1}, table.tensor.scales());
  });
  const std::string row = Op("Gather", node, {codes, In(node)}, {{"axis", int64_t{0}}});
  const std::string scale = Op("Gather", node, {scales, In(node)}, {{"axis", int64_t{0}}});
  return Op("Mul", node, {Op("Cast", node, {row}, {{"to", kOnnxFloat}}), scale});
}

std::string OnnxEmitter::EmitTrigram(const Node& node) {
  const int64_t far = std::numeric_limits<int64_t>::max();
  const std::string axis = onnx_.Int64s({{1}});
  const std::string x = Sequences(node);
  const std::string later =
      Op("Slice", node, {x, onnx_.Int64s({{1}}), onnx_.Int64s({{far}}), axis});
  const std::string earlier =
      Op("Slice", node, {x, onnx_.Int64s({{0}}), onnx_.Int64s({{-1}}), axis});
  const std::string next = Op("Pad", node, {later, onnx_.Int64s({{0, 0, 0, 0, 1, 0}})});
  const std::string previous = Op("Pad", node, {earlier, onnx_.Int64s({{0, 1, 0, 0, 0, 0}})});
  const std::string three = Op("Concat", node, {next, x, previous}, {{"axis", int64_t{2}}});
  return Op("Reshape", node, {three, onnx_.Int64s({{-1, 3 * InType(node).width}})});
}

std::string OnnxEmitter::EmitLayerNorm(const Node& node) {
  const auto epsilon = static_cast<float>(std::get_if<LayerNormAttrs>(&node.attrs)->epsilon);
  const std::string weight = Constant(node.weights[0]), bias = Constant(node.weights[1]);
  if (options_.opset >= 17) {
    return Op("LayerNormalization", node, {In(node), weight, bias},
              {{"axis", int64_t{-1}}, {"epsilon", epsilon}});
  }
  const OnnxWriter::Attribute last_axis{"axes", std::vector<int64_t>{-1}};
  const std::string mean = Op("ReduceMean", node, {In(node)}, {last_axis});
  const std::string centered = Op("Sub", node, {In(node), mean});
  const std::string squares = Op("Pow", node, {centered, onnx_.Float(2)});
  const std::string variance = Op("ReduceMean", node, {squares}, {last_axis});
  const std::string deviation =
      Op("Sqrt", node, {Op("Add", node, {variance, onnx_.Float(epsilon)})});
  const std::string unit = Op("Div", node, {centered, deviation});
  return Op("Add", node, {Op("Mul", node, {unit, weight}), bias});
}

std::string OnnxEmitter::EmitAffine(const Node& node) {
  const std::string scaled = Op("Mul", node, {In(node), Constant(node.weights[0])});
  return Op("Add", node, {scaled, Constant(node.weights[1])});
}

// The order of operations of Hugging Face's exports, which ONNX Runtime fuses.
std::string OnnxEmitter::Gelu(const Node& node, const std::string& x) {
  const std::string scaled = Op("Div", node, {x, onnx_.Float(std::numbers::sqrt2_v<float>)});
  const std::string shifted = Op("Add", node, {Op("Erf", node, {scaled}), onnx_.Float(1)});
  return Op("Mul", node, {Op("Mul", node, {x, shifted}), onnx_.Float(0.5f)});
}

std::string OnnxEmitter::GeluTanh(const Node& node, const std::string& x) {
  const std::string cube = Op("Pow", node, {x, onnx_.Float(3)});
  const std::string sum = Op("Add", node, {x, Op("Mul", node, {cube, onnx_.Float(0.044715f)})});
  const std::string inner =
      Op("Mul", node, {sum, onnx_.Float(static_cast<float>(std::sqrt(2 / std::numbers::pi)))});
  const std::string shifted = Op("Add", node, {Op("Tanh", node, {inner}), onnx_.Float(1)});
  return Op("Mul", node, {Op("Mul", node, {x, onnx_.Float(0.5f)}), shifted});
}

std::string OnnxEmitter::EmitActivation(const Node& node) {
  const std::string& x = In(node);
  const auto clip = [&](const std::string& y, float low, float high) {
    return Op("Clip", node, {y, onnx_.Float(low), onnx_.Float(high)});
  };
  switch (std::get_if<ActivationAttrs>(&node.attrs)->function) {
    case Activation::kIdentity:
      return x;
    case Activation::kRelu:
      return Op("Relu", node, {x});
    case Activation::kRelu6:
      return clip(x, 0, 6);
    case Activation::kRelu2: {
      const std::string positive = Op("Relu", node, {x});
      return Op("Mul", node, {positive, positive});
    }
    case Activation::kGelu:
      return Gelu(node, x);
    case Activation::kGeluTanh:
      return GeluTanh(node, x);
    case Activation::kQuickGelu: {
      const std::string scaled = Op("Mul", node, {x, onnx_.Float(1.702f)});
      return Op("Mul", node, {x, Op("Sigmoid", node, {scaled})});
    }
    case Activation::kGelu10:
      return clip(Gelu(node, x), -10, 10);
    case Activation::kLeakyRelu:
      return Op("LeakyRelu", node, {x}, {{"alpha", 0.01f}});
    case Activation::kSilu:
      return Op("Mul", node, {x, Op("Sigmoid", node, {x})});
    case Activation::kMish:
      return Op("Mul", node, {x, Op("Tanh", node, {Op("Softplus", node, {x})})});
    case Activation::kSigmoid:
      return Op("Sigmoid", node, {x});
    case Activation::kTanh:
      return Op("Tanh", node, {x});
  }
  return x;
}

std::string OnnxEmitter::EmitAdd(const Node& node) {
  return Op("Add", node, {In(node, 0), In(node, 1)});
}

const std::string& OnnxEmitter::FloatMask() {
  if (float_mask_.empty()) {
    const std::string mask = onnx_.Node("Unsqueeze", "token_mask/Unsqueeze",
                                        {{std::string(kAttentionMask), onnx_.Int64s({{2}})}});
    float_mask_ = onnx_.Node("Cast", "token_mask/Cast", {{mask}}, {{{"to", kOnnxFloat}}});
  }
  return float_mask_;
}

std::string OnnxEmitter::EmitPool(const Node& node) {
  if (std::get_if<PoolAttrs>(&node.attrs)->kind == PoolKind::kFirst) {
    return Op("Gather", node, {Sequences(node), onnx_.Int64(0)}, {{"axis", int64_t{1}}});
  }
  const auto sum_of_tokens = [&](const std::string& x) {
    return Op("ReduceSum", node, {x, onnx_.Int64s({{1}})}, {{"keepdims", int64_t{0}}});
  };
  const std::string sum = sum_of_tokens(Op("Mul", node, {Sequences(node), FloatMask()}));
  // Where every token is masked the sum is zero, and so is the mean.
  const std::string count = Op("Max", node, {sum_of_tokens(FloatMask()), onnx_.Float(1)});
  return Op("Div", node, {sum, count});
}

std::string OnnxEmitter::EmitL2Normalize(const Node& node) {
  const std::string norm = Op("ReduceL2", node, {In(node)}, {{"axes", std::vector<int64_t>{-1}}});
  // A row of zeros stays one.
  const std::string divisor =
      Op("Max", node, {norm, onnx_.Float(std::numeric_limits<float>::min())});
  return Op("Div", node, {In(node), divisor});
}

}  // namespace thimble
