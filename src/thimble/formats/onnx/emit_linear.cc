// Products: in float32, and in int8 in the form that ONNX Runtime fuses into one kernel.
#include "thimble/formats/onnx/emitter.h"
#include "thimble/graph/panels.h"

namespace thimble {

std::string OnnxEmitter::Product(const Node& node, const std::string& x) {
  return Op("MatMul", node, {x, Constant(node.weights[0], Order::kTransposed)});
}

// x is quantized once for all products that read it.
std::string OnnxEmitter::IntegerProduct(const Node& node, const std::string& x) {
  std::vector<std::string>& quantized = quantized_[x];
  if (quantized.empty()) {
    quantized =
        onnx_.NodeWithOutputs("DynamicQuantizeLinear", x + "/DynamicQuantizeLinear", 3, {{x}});
  }
  const Weight& weight = node.weights[0];
  const Tensor& tensor = weight.tensor;
  const std::string codes = Cached(weight, "codes", [&] {
    const Tensor rows = tensor.layout() == Layout::kPanels ? UnpackPanels(tensor) : tensor;
    const std::span codes_by_row(reinterpret_cast<const int8_t*>(rows.data().data()),
                                 rows.data().size());
    return onnx_.Bytes(weight.name, {tensor.dim(1), tensor.dim(0)},
                       Transposed(codes_by_row, static_cast<size_t>(tensor.dim(0))));
  });
  const std::string scales = Cached(weight, "scales", [&] {
    return onnx_.Floats(weight.name + "/scales", {tensor.dim(0)}, tensor.scales());
  });
  const std::string sums = Op("MatMulInteger", node, {quantized[0], codes, quantized[2]});
  const std::string scale = Op("Mul", node, {quantized[1], scales});
  return Op("Mul", node, {Op("Cast", node, {sums}, {{"to", kOnnxFloat}}), scale});
}

std::string OnnxEmitter::EmitLinear(const Node& node) {
  const bool integer = node.weights[0].tensor.dtype() == DType::kI8;
  const std::string product = integer ? IntegerProduct(node, In(node)) : Product(node, In(node));
  if (node.weights.size() == 1) return product;
  return Op("Add", node, {product, Constant(node.weights[1])});
}

}  // namespace thimble
