// An ONNX model under construction: nodes in order, named tensors, inputs and outputs.
//
// Every tensor, given or computed, is called by its name, which the writer keeps unique.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <variant>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/onnx/protobuf.h"
#include "thimble/graph/tensor.h"

namespace thimble {

class OnnxWriter {
 public:
  // A dimension with a name, or of a fixed size.
  using Dimension = std::variant<std::string, int64_t>;
  enum class Type : uint8_t { kFloat = 1, kInt64 = 7 };  // as TensorProto.DataType counts

  struct Attribute {
    std::string_view name;
    std::variant<int64_t, float, std::vector<int64_t>> value;
  };

  void Input(std::string_view name, Type type, std::span<const Dimension> dims);
  void Output(std::string_view name, Type type, std::span<const Dimension> dims);

  // Appends a node; gives the names of its `outputs` outputs, made from `name`.
  std::string Node(std::string_view op, std::string_view name, std::span<const std::string> inputs,
                   std::span<const Attribute> attributes = {});
  std::vector<std::string> NodeWithOutputs(std::string_view op, std::string_view name,
                                           size_t outputs, std::span<const std::string> inputs,
                                           std::span<const Attribute> attributes = {});
  // The same with the name of its one output given.
  void NodeNamed(std::string_view op, std::string_view output, std::span<const std::string> inputs,
                 std::span<const Attribute> attributes = {});

  // Constants; small ones that are equal are stored once.
  std::string Floats(std::string_view name, const Shape& dims, std::span<const float> values);
  std::string Halves(std::string_view name, const Shape& dims, std::span<const uint16_t> values);
  std::string Bytes(std::string_view name, const Shape& dims, std::span<const int8_t> values);
  std::string Bytes(std::string_view name, const Shape& dims, std::span<const uint8_t> values);
  std::string Int64s(std::span<const int64_t> values);  // a vector
  std::string Int64(int64_t value);                     // a scalar
  std::string Float(float value);                       // a scalar

  void Metadata(std::string_view key, std::string_view value);

  // The file, in pieces.
  using Sink = std::function<Status(std::string_view)>;
  Status Finish(std::string_view graph_name, int opset, const Sink& sink) &&;

  std::string Unique(std::string_view name);

 private:
  std::string Constant(std::string_view name, int type, const Shape& dims,
                       std::span<const std::byte> bytes);
  std::string Shared(std::string_view name, int type, const Shape& dims,
                     std::span<const std::byte> bytes);

  ProtoMessage graph_, metadata_;
  std::vector<ProtoMessage> constants_;
  std::unordered_set<std::string> names_;
  std::map<std::string, std::string> shared_;  // content -> name
};

}  // namespace thimble
