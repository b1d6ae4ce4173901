// An ONNX file as it is stored: nodes, constants, inputs, outputs, metadata. Checked for being whole (sizes against
// bytes, names of tensors unique, nodes in an order that can run); what the operators mean is graph_reader.h's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/tensor.h"

namespace thimble {

// A constant, row-major. `type` is TensorProto.DataType (onnx_fields.h).
struct OnnxTensor {
  std::string name;
  int type = 0;
  Shape dims;
  std::span<const std::byte> data;  // as many bytes as dims and type say; alignment is not promised
  std::shared_ptr<const void> owner;

  size_t elements() const { return *ElementCount(dims); }
};

struct OnnxAttribute {
  int64_t integer = 0;
  float real = 0;
  std::string_view text;
  std::vector<int64_t> integers;
  std::vector<float> reals;
  std::optional<OnnxTensor> tensor;
  bool is_graph = false;
};

struct OnnxNode {
  std::string name, op, domain;
  std::vector<std::string> inputs, outputs;  // an empty name: left out
  std::map<std::string, OnnxAttribute, std::less<>> attributes;
};

struct OnnxDimension {
  std::optional<int64_t> size;  // else free
};
struct OnnxValueInfo {
  std::string name;
  int type = 0;
  std::vector<OnnxDimension> dims;
};

struct OnnxFile {
  int64_t opset = 1;  // of the standard operators
  std::string producer;
  std::vector<OnnxNode> nodes;  // each after those that it depends on
  std::map<std::string, OnnxTensor, std::less<>> constants;
  std::vector<OnnxValueInfo> inputs, outputs;  // inputs without those that are constants
  std::map<std::string, std::string, std::less<>> metadata;
};

// Bytes of a file beside the model, by the relative path that the model gives, and what keeps them alive.
using OnnxExternalFile = std::pair<std::span<const std::byte>, std::shared_ptr<const void>>;
using OnnxExternalOpener = std::function<Result<OnnxExternalFile>(const std::string& path)>;

// `owner` keeps `bytes` alive. Paths that leave the folder are refused before `open` is asked.
Result<OnnxFile> ParseOnnx(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                           const OnnxExternalOpener& open);

// Bytes of one element; 0 of types that are not read (texts, complex numbers).
size_t OnnxTypeBytes(int type);

}  // namespace thimble
