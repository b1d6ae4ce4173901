#include "thimble/formats/onnx/onnx_writer.h"

#include <utility>

#include "thimble/formats/onnx/onnx_fields.h"

namespace thimble {
namespace {

namespace attribute = onnx_fields::attribute;
namespace entry = onnx_fields::entry;
namespace graph = onnx_fields::graph;
namespace model = onnx_fields::model;
namespace node = onnx_fields::node;
namespace opset = onnx_fields::opset;
namespace tensor = onnx_fields::tensor;
namespace value = onnx_fields::value;

constexpr int64_t kIrVersionOfOpset17 = 8;

ProtoMessage ValueInfo(std::string_view name, OnnxWriter::Type type,
                       std::span<const OnnxWriter::Dimension> dims) {
  ProtoMessage shape;
  for (const OnnxWriter::Dimension& dim : dims) {
    ProtoMessage d;
    if (const auto* text = std::get_if<std::string>(&dim)) {
      d.Bytes(value::kDimParam, *text);
    } else {
      d.Integer(value::kDimValue, *std::get_if<int64_t>(&dim));
    }
    shape.Message(value::kDim, d);
  }
  ProtoMessage tensor_type, type_proto, info;
  tensor_type.Integer(value::kElemType, static_cast<int64_t>(type));
  tensor_type.Message(value::kShape, shape);
  type_proto.Message(value::kTensorType, tensor_type);
  info.Bytes(value::kName, name);
  info.Message(value::kType, type_proto);
  return info;
}

ProtoMessage AttributeProto(const OnnxWriter::Attribute& attr) {
  ProtoMessage proto;
  proto.Bytes(attribute::kName, attr.name);
  if (const auto* number = std::get_if<int64_t>(&attr.value)) {
    proto.Integer(attribute::kInt, *number);
    proto.Integer(attribute::kType, attribute::kTypeInt);
  } else if (const auto* real = std::get_if<float>(&attr.value)) {
    proto.Float(attribute::kFloat, *real);
    proto.Integer(attribute::kType, attribute::kTypeFloat);
  } else {
    for (const int64_t i : *std::get_if<std::vector<int64_t>>(&attr.value)) {
      proto.Integer(attribute::kInts, i);
    }
    proto.Integer(attribute::kType, attribute::kTypeInts);
  }
  return proto;
}

ProtoMessage NodeProto(std::string_view op, std::string_view name,
                       std::span<const std::string> inputs, std::span<const std::string> outputs,
                       std::span<const OnnxWriter::Attribute> attributes) {
  ProtoMessage proto;
  for (const std::string& input : inputs) proto.Bytes(node::kInput, input);
  for (const std::string& output : outputs) proto.Bytes(node::kOutput, output);
  proto.Bytes(node::kName, name);
  proto.Bytes(node::kOpType, op);
  for (const OnnxWriter::Attribute& attr : attributes) {
    proto.Message(node::kAttribute, AttributeProto(attr));
  }
  return proto;
}

}  // namespace

std::string OnnxWriter::Unique(std::string_view name) {
  std::string unique(name);
  for (int i = 1; !names_.insert(unique).second; ++i) {
    unique = std::string(name) + "_" + std::to_string(i);
  }
  return unique;
}

void OnnxWriter::Input(std::string_view name, Type type, std::span<const Dimension> dims) {
  names_.insert(std::string(name));
  graph_.Message(graph::kInput, ValueInfo(name, type, dims));
}

void OnnxWriter::Output(std::string_view name, Type type, std::span<const Dimension> dims) {
  graph_.Message(graph::kOutput, ValueInfo(name, type, dims));
}

std::string OnnxWriter::Node(std::string_view op, std::string_view name,
                             std::span<const std::string> inputs,
                             std::span<const Attribute> attributes) {
  return NodeWithOutputs(op, name, 1, inputs, attributes)[0];
}

std::vector<std::string> OnnxWriter::NodeWithOutputs(std::string_view op, std::string_view name,
                                                     size_t outputs,
                                                     std::span<const std::string> inputs,
                                                     std::span<const Attribute> attributes) {
  std::vector<std::string> names;
  for (size_t i = 0; i < outputs; ++i) names.push_back(Unique(name));
  graph_.Message(graph::kNode, NodeProto(op, names[0], inputs, names, attributes));
  return names;
}

void OnnxWriter::NodeNamed(std::string_view op, std::string_view output,
                           std::span<const std::string> inputs,
                           std::span<const Attribute> attributes) {
  const std::string outputs[] = {std::string(output)};
  graph_.Message(graph::kNode, NodeProto(op, output, inputs, outputs, attributes));
}

std::string OnnxWriter::Constant(std::string_view name, int type, const Shape& dims,
                                 std::span<const std::byte> bytes) {
  ProtoMessage proto;
  for (const int64_t dim : dims) proto.Integer(tensor::kDims, dim);
  proto.Integer(tensor::kDataType, type);
  std::string unique = Unique(name);
  proto.Bytes(tensor::kName, unique);
  proto.Bytes(tensor::kRawData, bytes);
  constants_.push_back(std::move(proto));
  return unique;
}

std::string OnnxWriter::Shared(std::string_view name, int type, const Shape& dims,
                               std::span<const std::byte> bytes) {
  std::string content = std::to_string(type) + ShapeText(dims);
  content.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto [place, is_new] = shared_.try_emplace(std::move(content));
  if (is_new) place->second = Constant(name, type, dims, bytes);
  return place->second;
}

std::string OnnxWriter::Floats(std::string_view name, const Shape& dims,
                               std::span<const float> values) {
  return Constant(name, tensor::kFloat, dims, std::as_bytes(values));
}

std::string OnnxWriter::Halves(std::string_view name, const Shape& dims,
                               std::span<const uint16_t> values) {
  return Constant(name, tensor::kFloat16, dims, std::as_bytes(values));
}

std::string OnnxWriter::Bytes(std::string_view name, const Shape& dims,
                              std::span<const int8_t> values) {
  return Constant(name, tensor::kInt8, dims, std::as_bytes(values));
}

std::string OnnxWriter::Bytes(std::string_view name, const Shape& dims,
                              std::span<const uint8_t> values) {
  return Constant(name, tensor::kUint8, dims, std::as_bytes(values));
}

std::string OnnxWriter::Int64s(std::span<const int64_t> values) {
  return Shared("ints", tensor::kInt64, {static_cast<int64_t>(values.size())},
                std::as_bytes(values));
}

std::string OnnxWriter::Int64(int64_t value) {
  return Shared("int", tensor::kInt64, {}, std::as_bytes(std::span(&value, 1)));
}

std::string OnnxWriter::Float(float value) {
  return Shared("float", tensor::kFloat, {}, std::as_bytes(std::span(&value, 1)));
}

void OnnxWriter::Metadata(std::string_view key, std::string_view value) {
  ProtoMessage proto;
  proto.Bytes(entry::kKey, key);
  proto.Bytes(entry::kValue, value);
  metadata_.Message(model::kMetadata, proto);
}

Status OnnxWriter::Finish(std::string_view graph_name, int opset_version, const Sink& sink) && {
  graph_.Bytes(graph::kName, graph_name);
  ProtoMessage header, opset_import;
  header.Integer(model::kIrVersion, kIrVersionOfOpset17);
  header.Bytes(model::kProducerName, "thimble");
  opset_import.Integer(opset::kVersion, opset_version);
  header.Message(model::kOpsetImport, opset_import);

  // The graph is a message too, but its constants are written one by one instead of being copied.
  size_t graph_bytes = graph_.bytes().size();
  std::vector<std::string> prefixes;
  for (const ProtoMessage& constant : constants_) {
    prefixes.push_back(ProtoMessage::Prefix(graph::kInitializer, constant.bytes().size()));
    graph_bytes += prefixes.back().size() + constant.bytes().size();
  }
  // Readers hold sizes in 32 bits with a sign.
  constexpr size_t kLargest = (size_t{1} << 31) - 1;
  if (graph_bytes + header.bytes().size() + metadata_.bytes().size() + 16 > kLargest) {
    return Unsupported(
        "the model has " + std::to_string(graph_bytes >> 20) +
        " MiB of weights, an ONNX file without external data holds 2 GiB: store them "
        "as f16 or int8 first");
  }
  TRY_VOID(sink(header.bytes()));
  TRY_VOID(sink(metadata_.bytes()));
  TRY_VOID(sink(ProtoMessage::Prefix(model::kGraph, graph_bytes)));
  TRY_VOID(sink(graph_.bytes()));
  for (size_t i = 0; i < constants_.size(); ++i) {
    TRY_VOID(sink(prefixes[i]));
    TRY_VOID(sink(constants_[i].bytes()));
  }
  return {};
}

}  // namespace thimble
