#include "thimble/formats/onnx/emitter.h"

#include <utility>

#include "thimble/base/half.h"

namespace thimble {
namespace {

constexpr OnnxEmitter::EmitOp kEmitOps[] = {
#define OP(enumerator, name, file, stem, attributes) &OnnxEmitter::Emit##stem,
#include "thimble/graph/ops.inc"
#undef OP
};

const std::vector<OnnxWriter::Dimension> kIdsShape = {"batch", "sequence"};

std::vector<OnnxWriter::Dimension> OutputShape(const ValueType& type) {
  if (type.rows == Rows::kTokens) return {"batch", "sequence", type.width};
  return {"batch", type.width};
}

}  // namespace

OnnxEmitter::OnnxEmitter(const Graph& graph, const OnnxOptions& options)
    : graph_(graph), options_(options), names_(graph.values.size()) {}

OnnxWriter OnnxEmitter::Emit() && {
  // Callers know the tensors of the border by these names; nothing inside may take them.
  for (const GraphOutput& output : graph_.outputs) onnx_.Unique(output.name);
  onnx_.Input(kInputIds, OnnxWriter::Type::kInt64, kIdsShape);
  onnx_.Input(kAttentionMask, OnnxWriter::Type::kInt64, kIdsShape);
  for (const ValueId id : graph_.inputs) {
    const std::string& name = graph_.value(id).name;
    if (name != kInputIds) onnx_.Input(name, OnnxWriter::Type::kInt64, kIdsShape);
    names_[Index(id)] = onnx_.Node("Reshape", name + "/Reshape", {{name, onnx_.Int64s({{-1}})}});
  }
  for (const Node& node : graph_.nodes) {
    names_[Index(node.output)] = (this->*kEmitOps[static_cast<size_t>(node.op)])(node);
  }
  for (const GraphOutput& output : graph_.outputs) {
    const ValueType& type = graph_.value(output.value).type;
    const std::string& value = names_[Index(output.value)];
    if (type.rows == Rows::kTokens) {
      onnx_.NodeNamed("Reshape", output.name, {{value, BatchShape({type.width})}});
    } else {
      onnx_.NodeNamed("Identity", output.name, {{value}});
    }
    onnx_.Output(output.name, OnnxWriter::Type::kFloat,
                 OutputShape(graph_.value(output.value).type));
  }
  return std::move(onnx_);
}

std::string OnnxEmitter::BatchShape(std::initializer_list<int64_t> dims) {
  if (batch_shape_.empty()) {
    batch_shape_ = onnx_.Node("Shape", "batch/Shape", {{std::string(kInputIds)}});
  }
  if (dims.size() == 0) return batch_shape_;
  std::string& shape = shapes_[dims];
  if (shape.empty()) {
    shape = onnx_.Node("Concat", "batch/Concat", {{batch_shape_, onnx_.Int64s(dims)}},
                       {{{"axis", int64_t{0}}}});
  }
  return shape;
}

std::string OnnxEmitter::Sequences(const Node& node, size_t input) {
  return Op("Reshape", node, {In(node, input), BatchShape({InType(node, input).width})});
}

std::string OnnxEmitter::Op(std::string_view op, const Node& node,
                            std::initializer_list<std::string> inputs,
                            std::initializer_list<OnnxWriter::Attribute> attributes) {
  return onnx_.Node(op, node.name + "/" + std::string(op), inputs, attributes);
}

const std::string& OnnxEmitter::In(const Node& node, size_t i) const {
  return names_[Index(node.inputs[i])];
}

const ValueType& OnnxEmitter::InType(const Node& node, size_t i) const {
  return graph_.value(node.inputs[i]).type;
}

bool OnnxEmitter::PerToken(const Node& node, size_t i) const {
  return InType(node, i).rows == Rows::kTokens;
}

std::string OnnxEmitter::Cached(const Weight& weight, std::string_view form,
                                const std::function<std::string()>& make) {
  const auto address = reinterpret_cast<uintptr_t>(weight.tensor.data().data());
  std::string key = std::to_string(address) + ShapeText(weight.tensor.shape()) + std::string(form);
  const auto [place, is_new] = cached_.try_emplace(std::move(key));
  if (is_new) place->second = make();
  return place->second;
}

std::string OnnxEmitter::Constant(const Weight& weight) {
  return Cached(weight, "as is", [&] {
    const std::vector<float> values = weight.tensor.ToFloats();
    const Shape& shape = weight.tensor.shape();
    if (weight.tensor.dtype() != DType::kF16) return onnx_.Floats(weight.name, shape, values);
    std::vector<uint16_t> halves;
    for (const float value : values) halves.push_back(FloatToHalf(value));
    const std::string constant = onnx_.Halves(weight.name, shape, halves);
    return onnx_.Node("Cast", weight.name + "/Cast", {{constant}}, {{{"to", kOnnxFloat}}});
  });
}

}  // namespace thimble
