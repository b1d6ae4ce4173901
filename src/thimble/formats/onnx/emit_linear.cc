// Products: in float32, and in int8 in the form that ONNX Runtime fuses into one kernel.
#include "thimble/formats/onnx/emitter.h"
#include "thimble/graph/panels.h"

namespace thimble {
namespace {

// The int8 codes of [outputs, inputs] as [inputs, outputs], as MatMulInteger wants them.
std::vector<int8_t> TransposedCodes(const Tensor& weight) {
  const Tensor rows = weight.layout() == Layout::kPanels ? UnpackPanels(weight) : weight;
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

}  // namespace

// The input is quantized once for all products that read it.
std::string OnnxEmitter::IntegerProduct(const Node& node) {
  const std::string& x = In(node);
  std::vector<std::string>& quantized = quantized_[x];
  if (quantized.empty()) {
    quantized =
        onnx_.NodeWithOutputs("DynamicQuantizeLinear", x + "/DynamicQuantizeLinear", 3, {{x}});
  }
  const Weight& weight = node.weights[0];
  const int64_t outputs = weight.tensor.dim(0), inputs = weight.tensor.dim(1);
  const std::string codes = Cached(weight, "codes", [&] {
    return onnx_.Bytes(weight.name, {inputs, outputs}, TransposedCodes(weight.tensor));
  });
  const std::string scales = Cached(weight, "scales", [&] {
    return onnx_.Floats(weight.name + "/scales", {outputs}, weight.tensor.scales());
  });
  const std::string sums = Op("MatMulInteger", node, {quantized[0], codes, quantized[2]});
  const std::string scale = Op("Mul", node, {quantized[1], scales});
  return Op("Mul", node, {Op("Cast", node, {sums}, {{"to", kOnnxFloat}}), scale});
}

std::string OnnxEmitter::EmitLinear(const Node& node) {
  const bool has_bias = node.weights.size() > 1;
  if (node.weights[0].tensor.dtype() == DType::kI8) {
    const std::string product = IntegerProduct(node);
    return has_bias ? Op("Add", node, {product, Constant(node.weights[1])}) : product;
  }
  const OnnxWriter::Attribute transposed{"transB", int64_t{1}};
  const std::string weight = Constant(node.weights[0]);
  return has_bias ? Op("Gemm", node, {In(node), weight, Constant(node.weights[1])}, {transposed})
                  : Op("Gemm", node, {In(node), weight}, {transposed});
}

}  // namespace thimble
