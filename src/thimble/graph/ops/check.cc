#include "thimble/graph/ops/check.h"

namespace thimble {

Status CheckInputCount(const OpContext& c, size_t count) {
  if (c.inputs.size() == count) return {};
  return InvalidData("takes " + std::to_string(count) + " inputs, has " +
                     std::to_string(c.inputs.size()));
}

Status CheckWeightCount(const OpContext& c, size_t least, size_t most) {
  if (c.weights.size() >= least && c.weights.size() <= most) return {};
  return InvalidData("takes " + std::to_string(least) +
                     (most == least ? "" : " to " + std::to_string(most)) + " weights, has " +
                     std::to_string(c.weights.size()));
}

Status CheckFloatInputs(const OpContext& c) {
  for (const ValueType& type : c.inputs) {
    if (type.element != Element::kFloat32) return InvalidData("takes numbers, not ids");
    if (type.width <= 0) return InvalidData("has an input of width 0");
  }
  return {};
}

Status CheckVector(const OpContext& c, size_t weight, int64_t width) {
  const Tensor& t = c.weights[weight];
  const bool is_float =
      t.dtype() == DType::kF32 || t.dtype() == DType::kF16 || t.dtype() == DType::kBF16;
  if (is_float && t.layout() == Layout::kRowMajor && t.shape() == Shape{width}) return {};
  return InvalidData("weight " + std::to_string(weight) + " is " + ShapeText(t.shape()) + " " +
                     std::string(DTypeName(t.dtype())) + ", must be floats " + ShapeText({width}));
}

Status CheckMatrix(const OpContext& c, size_t weight) {
  const Tensor& t = c.weights[weight];
  const std::string name = "weight " + std::to_string(weight);
  if (t.rank() != 2 || t.dim(0) <= 0 || t.dim(1) <= 0) {
    return InvalidData(name + " is " + ShapeText(t.shape()) + ", must be a matrix");
  }
  if (t.dtype() == DType::kBF16 && t.layout() == Layout::kPanels) {
    return InvalidData(name + " is bf16 in panels, which hold f32, f16 or codes");
  }
  switch (t.dtype()) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      return {};
    case DType::kI8:
    case DType::kI8Group:
    case DType::kI4Group:
      if (!t.scales().empty()) return {};
      return InvalidData(name + " is " + std::string(DTypeName(t.dtype())) + " without scales");
    default:
      return InvalidData(name + " is " + std::string(DTypeName(t.dtype())) +
                         ", must be f32, f16, bf16, i8, i8g or i4g");
  }
}

double WeightBytes(const OpContext& c) {
  double bytes = 0;
  for (const Tensor& t : c.weights) bytes += static_cast<double>(t.bytes());
  return bytes;
}

Result<ValueType> InferElementwise(const OpContext& c) {
  TRY_VOID(CheckInputCount(c, 1));
  TRY_VOID(CheckWeightCount(c, 0, 0));
  TRY_VOID(CheckFloatInputs(c));
  return c.inputs[0];
}

Cost NoProducts(const OpContext& c, const Workload&) { return {0, WeightBytes(c)}; }

ReferenceValue MakeFloats(ValueType type, size_t rows) {
  ReferenceValue value{type, {}, {}};
  value.floats.resize(rows * static_cast<size_t>(type.width));
  return value;
}

}  // namespace thimble
