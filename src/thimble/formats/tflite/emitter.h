// The writing of one graph to TensorFlow Lite: where its values stand, and the few things that many
// nodes share.
//
// Inside the file values are matrices as they are in the graph: [batch * sequence, width] with one row
// per token, [batch, width] with one per sequence, so that a linear layer is one FULLY_CONNECTED. The ids
// are [batch, sequence]. More dimensions appear only where sequences matter, and at the outputs. Since
// the batch is fixed, a free sequence is never more than one -1 in a shape.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "thimble/formats/tflite/export.h"
#include "thimble/formats/tflite/tflite_writer.h"
#include "thimble/graph/graph.h"

namespace thimble {

class TfliteEmitter {
 public:
  using Id = TfliteWriter::TensorId;
  using Dims = TfliteWriter::Dims;
  using Code = tfl::BuiltinOperator;

  // The sizes must have been checked (export.cc): what is computed from them fits 32 bits.
  TfliteEmitter(const Model& model, const TfliteOptions& options);

  // One node of the graph as operators; gives the tensor of its output. One function for each operation,
  // in emit_*.cc.
  using EmitOp = Id (TfliteEmitter::*)(const Node&);
#define OP(enumerator, name, file, stem, attributes) Id Emit##stem(const Node& node);
#include "thimble/graph/ops.inc"
#undef OP

  // Writes everything; the writer is ready to finish.
  TfliteWriter Emit() &&;

 private:
  // An operator with the options that its code asks for, where those are the default ones. `name` is the
  // path of a node or the like; the operator's name is added. The output is float32 unless said.
  Id Op(Code code, std::string_view name, std::initializer_list<Id> inputs, Dims dims,
        tfl::TensorType type = tfl::TensorType::FLOAT32);
  Id Op(TfliteWriter::Operator op, std::string_view name, std::initializer_list<Id> inputs,
        Dims dims, tfl::TensorType type = tfl::TensorType::FLOAT32,
        TfliteQuantization quantization = {});
  // An operator of tensors of one shape.
  Id Same(Code code, std::string_view name, std::initializer_list<Id> inputs);
  Id Reshape(std::string_view name, Id x, Dims dims,
             tfl::TensorType type = tfl::TensorType::FLOAT32);
  Id Transpose(std::string_view name, Id x, const Dims& order);
  Id Cast(std::string_view name, Id x, tfl::TensorType from, tfl::TensorType to);
  Id Reduce(Code code, std::string_view name, Id x, int32_t axis, bool keep_dims);
  Id Gather(std::string_view name, Id table, Id ids, Dims dims, tfl::TensorType type);

  Id In(const Node& node, size_t i = 0) const { return tensors_[Index(node.inputs[i])]; }
  const ValueType& InType(const Node& node, size_t i = 0) const;
  bool PerToken(const Node& node, size_t i = 0) const;
  // [batch * sequence, width] or [batch, width]
  Dims Matrix(const ValueType& type) const;
  int32_t TokenRows() const { return sequence_ < 0 ? -1 : batch_ * sequence_; }

  // The weight as float32, widened from a float16 constant where it is a matrix stored so; written once
  // for all its uses.
  Id Constant(const Weight& weight);
  Id Cached(const Weight& weight, std::string_view form, const std::function<Id()>& make);

  Id Product(const Node& node);
  // The same from int8 to int8, and back.
  Id IntegerProduct(const Node& node);
  Id Codes(const Weight& weight);
  Id IntegerBias(const Node& node, float input_scale);
  // As int8 codes; made once for all that read it.
  Id Quantize(std::string_view name, Id x, const TfliteQuantization& quantization);
  Id Dequantize(std::string_view name, Id x, int32_t version);
  // Of codes that cover what was seen of the value.
  TfliteQuantization RangeOf(ValueId value) const;
  Id CodeTable(const Node& node, const Weight& table);
  Id Heads(const Node& node, size_t input);
  Id ApplyActivation(const Node& node, Id x);
  Id Clip(std::string_view name, Id x, float low, float high);
  Id Mish(std::string_view name, Id x);
  // An input with one row per token as [batch, sequence, width].
  Id Sequences(const Node& node, size_t input = 0);
  // [batch, 1, 1, sequence], 0 or the most negative number; made at its first use.
  Id AdditiveMask();
  // [batch, sequence, 1], 1 or 0
  Id FloatMask();

  std::vector<GraphOutput> Outputs() const;
  void EmitOutput(const GraphOutput& output);
  void EmitAnswers(const GraphOutput& output);

  const Model& model_;
  const Graph& graph_;
  const TfliteOptions options_;
  const int32_t batch_, sequence_;  // -1: free
  TfliteWriter writer_;
  std::vector<Id> tensors_;                                 // of values
  std::map<std::tuple<Id, float, int64_t>, Id> quantized_;  // by tensor, scale and zero point
  std::map<std::string, Id> cached_;                        // constants by storage and form
  Id mask_ = 0;                                             // the input
  Id additive_mask_ = -1, float_mask_ = -1;
};

}  // namespace thimble
