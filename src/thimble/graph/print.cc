#include "thimble/base/format.h"
#include "thimble/graph/graph.h"

namespace thimble {
namespace {

// Collects " name=value" for every attribute.
struct AttributePrinter {
  std::string text;

  void operator()(const char* name, int64_t value) { Append(name, std::to_string(value)); }
  void operator()(const char* name, double value) { Append(name, ShortestNumber(value)); }
  void Optional(const char* name, double value) {
    if (value != 0) (*this)(name, value);
  }
  void operator()(const char* name, Activation value) {
    Append(name, std::string(ActivationName(value)));
  }
  void operator()(const char* name, PoolKind value) {
    Append(name, value == PoolKind::kFirst ? "first" : "mean");
  }
  void Append(const char* name, const std::string& value) {
    text += std::string(" ") + name + "=" + value;
  }
};

std::string ValueText(const Graph& graph, ValueId id) {
  const ValueType& type = graph.value(id).type;
  return std::string("[") + (type.rows == Rows::kTokens ? "tokens" : "sequences") + ", " +
         std::to_string(type.width) + "]";
}

std::string IdText(ValueId id) { return "%" + std::to_string(static_cast<int32_t>(id)); }

}  // namespace

std::string Print(const Graph& graph) {
  std::string text;
  for (const ValueId id : graph.inputs) {
    text += IdText(id) + " = input " + graph.value(id).name + "\n";
  }
  for (const Node& node : graph.nodes) {
    text += IdText(node.output) + " = " + std::string(GetOp(node.op).name) + "(";
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      text += (i == 0 ? "" : ", ") + IdText(node.inputs[i]);
    }
    text += ")";
    for (size_t i = 0; i < node.weights.size(); ++i) {
      const Tensor& tensor = node.weights[i].tensor;
      text += (i == 0 ? " " : ", ") + ShapeText(tensor.shape()) + " " +
              std::string(DTypeName(tensor.dtype()));
    }
    AttributePrinter attributes;
    Attributes attrs = node.attrs;
    std::visit([&](auto& a) { a.Visit(attributes); }, attrs);
    text += attributes.text + " -> " + ValueText(graph, node.output) + "  // " + node.name + "\n";
  }
  for (const GraphOutput& output : graph.outputs) {
    text += "output " + output.name + " = " + IdText(output.value) + "\n";
  }
  return text;
}

}  // namespace thimble
