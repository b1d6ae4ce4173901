// The writing of one graph to ONNX: where its values stand, and the few things that many nodes
// share.
//
// Inside the file values are matrices as they are in the graph: [batch * sequence, width] with one
// row per token, [batch, width] with one per sequence, and ids a vector. So a linear layer is one
// Gemm, bias and ReLU included; measured in ONNX Runtime 1.30 this is faster than MatMul and Add
// over [batch, sequence, width], as others export, by 2 to 10 % at 128 tokens and by more at 16.
// Three dimensions appear only where sequences matter, and at the outputs.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thimble/formats/onnx/export.h"
#include "thimble/formats/onnx/onnx_writer.h"
#include "thimble/graph/graph.h"

namespace thimble {

// TensorProto.DataType, as the attribute "to" of Cast takes it.
inline constexpr int64_t kOnnxFloat = 1;
inline constexpr int64_t kOnnxInt64 = 7;

inline constexpr std::string_view kAttentionMask = "attention_mask";

class OnnxEmitter {
 public:
  OnnxEmitter(const Graph& graph, const OnnxOptions& options);

  // One node of the graph as ONNX nodes; gives the name of its output. One function for each
  // operation, in emit_*.cc.
  using EmitOp = std::string (OnnxEmitter::*)(const Node&);
#define OP(enumerator, name, file, stem, attributes) std::string Emit##stem(const Node& node);
#include "thimble/graph/ops.inc"
#undef OP

  // Writes everything; the writer is ready to finish.
  OnnxWriter Emit() &&;

 private:
  // `name` is the path of the graph's node, `op` tells ONNX nodes of the same path apart.
  std::string Op(std::string_view op, const Node& node, std::initializer_list<std::string> inputs,
                 std::initializer_list<OnnxWriter::Attribute> attributes = {});
  const std::string& In(const Node& node, size_t i = 0) const;
  const ValueType& InType(const Node& node, size_t i = 0) const;
  bool PerToken(const Node& node, size_t i = 0) const;

  // The weight as a float32 tensor, cast from a float16 constant where it is stored so; written
  // once for all its uses.
  std::string Constant(const Weight& weight);
  std::string Cached(const Weight& weight, std::string_view form,
                     const std::function<std::string()>& make);

  const std::vector<std::string>& Quantized(const Node& node);
  const std::string& ZeroPoint();
  // The codes of a linear's weight, [inputs, outputs]; and their scales, one for each output.
  std::string Codes(const Weight& weight);
  std::string Scales(const Weight& weight);
  std::string IntegerProduct(const Node& node);
  std::string QdqProduct(const Node& node);
  std::string Heads(const Node& node, size_t input, std::vector<int64_t> order);
  std::string Gelu(const Node& node, const std::string& x);
  std::string GeluTanh(const Node& node, const std::string& x);
  // The int64 vector [batch, sequence, dims...].
  std::string BatchShape(std::initializer_list<int64_t> dims);
  // An input with one row per token as [batch, sequence, width].
  std::string Sequences(const Node& node, size_t input = 0);
  // [batch, 1, 1, sequence], 0 or the most negative number; made at its first use.
  const std::string& AdditiveMask();
  // [batch, sequence, 1], 1 or 0
  const std::string& FloatMask();

  const Graph& graph_;
  const OnnxOptions options_;
  OnnxWriter onnx_;
  std::vector<std::string> names_;             // of values
  std::map<std::string, std::string> cached_;  // constants by storage and form
  std::map<std::pair<std::string, float>, std::vector<std::string>>
      quantized_;                        // activations and their scale: int8, scale, zero point
  std::map<Shape, std::string> shapes_;  // of BatchShape
  std::string batch_shape_, additive_mask_, float_mask_;
  std::string zero_point_;  // of unsigned codes
};

}  // namespace thimble
