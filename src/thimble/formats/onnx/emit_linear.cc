// Products: in float32, and in int8 in the form that ONNX Runtime fuses into one kernel.
#include "thimble/formats/onnx/emitter.h"
#include "thimble/graph/panels.h"

namespace thimble {
namespace {

// The int8 codes of [outputs, inputs] as [inputs, outputs], as MatMulInteger wants them.
std::vector<int8_t> TransposedCodes(const Tensor& weight) {
  const Tensor rows = weight.InLayout(Layout::kRowMajor);
  const auto outputs = static_cast<size_t>(weight.dim(0));
  const auto inputs = static_cast<size_t>(weight.dim(1));
  std::vector<int8_t> codes;
  codes.reserve(outputs * inputs);
  for (size_t k = 0; k < inputs; ++k) {
    for (size_t n = 0; n < outputs; ++n) {
      codes.push_back(static_cast<int8_t>(rows.data()[n * inputs + k]));
    }
  }
  return codes;
}

constexpr uint8_t kZeroPoint = 128;

// The same codes as unsigned bytes.
std::vector<uint8_t> WithZeroPoint(const std::vector<int8_t>& codes) {
  std::vector<uint8_t> bytes;
  bytes.reserve(codes.size());
  for (const int8_t code : codes) bytes.push_back(static_cast<uint8_t>(code + kZeroPoint));
  return bytes;
}

}  // namespace

// The input as int8 codes, their scale and zero point; made once for all products that read it.
const std::vector<std::string>& OnnxEmitter::Quantized(const Node& node) {
  const std::string& x = In(node);
  const auto scale = static_cast<float>(std::get<LinearAttrs>(node.attrs).input_scale);
  std::vector<std::string>& quantized = quantized_[{x, scale}];
  if (!quantized.empty()) return quantized;
  if (scale == 0) {
    quantized =
        onnx_.NodeWithOutputs("DynamicQuantizeLinear", x + "/DynamicQuantizeLinear", 3, {{x}});
    return quantized;
  }
  // Codes from 1 to 255 around 128: 0, which would be -128, never comes out of the Clip.
  const float least = -127 * scale, most = 127 * scale;
  const std::string scale_name = onnx_.Floats(x + "/scale", {}, std::span(&scale, 1));
  const std::string clipped = onnx_.Node("Clip", x + "/Clip",
                                         {{x, onnx_.Floats(x + "/least", {}, std::span(&least, 1)),
                                           onnx_.Floats(x + "/most", {}, std::span(&most, 1))}});
  quantized = {
      onnx_.Node("QuantizeLinear", x + "/QuantizeLinear", {{clipped, scale_name, ZeroPoint()}}),
      scale_name, ZeroPoint()};
  return quantized;
}

const std::string& OnnxEmitter::ZeroPoint() {
  if (zero_point_.empty()) zero_point_ = onnx_.Bytes("zero_point", {}, std::span(&kZeroPoint, 1));
  return zero_point_;
}

std::string OnnxEmitter::Codes(const Weight& weight) {
  return Cached(weight, "codes", [&] {
    const Shape shape = {weight.tensor.dim(1), weight.tensor.dim(0)};
    const std::vector<int8_t> transposed = TransposedCodes(weight.tensor);
    return options_.codes == OnnxCodes::kUnsigned
               ? onnx_.Bytes(weight.name, shape, WithZeroPoint(transposed))
               : onnx_.Bytes(weight.name, shape, transposed);
  });
}

std::string OnnxEmitter::Scales(const Weight& weight) {
  return Cached(weight, "scales", [&] {
    return onnx_.Floats(weight.name + "/scales", {weight.tensor.dim(0)}, weight.tensor.scales());
  });
}

std::string OnnxEmitter::IntegerProduct(const Node& node) {
  const std::vector<std::string>& quantized = Quantized(node);
  const Weight& weight = node.weights[0];
  const std::string codes = Codes(weight), scales = Scales(weight);
  const std::string sums =
      options_.codes == OnnxCodes::kUnsigned
          ? Op("MatMulInteger", node, {quantized[0], codes, quantized[2], ZeroPoint()})
          : Op("MatMulInteger", node, {quantized[0], codes, quantized[2]});
  const std::string scale = Op("Mul", node, {quantized[1], scales});
  return Op("Mul", node, {Op("Cast", node, {sums}, {{"to", kOnnxFloat}}), scale});
}

// The same of floats that stand for codes.
std::string OnnxEmitter::QdqProduct(const Node& node) {
  const std::vector<std::string>& quantized = Quantized(node);
  const Weight& weight = node.weights[0];
  const std::string zeros = Cached(weight, "zeros", [&] {
    const auto outputs = static_cast<size_t>(weight.tensor.dim(0));
    const Shape shape = {weight.tensor.dim(0)};
    return options_.codes == OnnxCodes::kUnsigned
               ? onnx_.Bytes(weight.name + "/zeros", shape,
                             std::vector<uint8_t>(outputs, kZeroPoint))
               : onnx_.Bytes(weight.name + "/zeros", shape, std::vector<int8_t>(outputs, 0));
  });
  const std::string x = Op("DequantizeLinear", node, {quantized[0], quantized[1], quantized[2]});
  const std::string w =
      Op("DequantizeLinear", node, {Codes(weight), Scales(weight), zeros}, {{"axis", int64_t{1}}});
  return Op("MatMul", node, {x, w});
}

std::string OnnxEmitter::EmitLinear(const Node& node) {
  const bool has_bias = node.weights.size() > 1;
  if (node.weights[0].tensor.dtype() == DType::kI8) {
    const bool qdq = options_.static_form == OnnxStatic::kQdq &&
                     std::get<LinearAttrs>(node.attrs).input_scale > 0;
    const std::string product = qdq ? QdqProduct(node) : IntegerProduct(node);
    return has_bias ? Op("Add", node, {product, Constant(node.weights[1])}) : product;
  }
  const OnnxWriter::Attribute transposed{"transB", int64_t{1}};
  const std::string weight = Constant(node.weights[0]);
  return has_bias ? Op("Gemm", node, {In(node), weight, Constant(node.weights[1])}, {transposed})
                  : Op("Gemm", node, {In(node), weight}, {transposed});
}

}  // namespace thimble
