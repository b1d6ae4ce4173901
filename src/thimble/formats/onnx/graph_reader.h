// The graph of an ONNX file as ours: BERT and its relatives as torch.onnx, Optimum, ONNX Runtime's optimizer and
// quantizer, and our own exporter write them. Nodes are read one by one, in order; what each tensor is in terms of our
// graph is followed symbolically (reader_values.h), and what exporters write in pieces is recognised by what it
// computes (formats/rows). Names decide nothing but which input is which, and what nodes are called.
//
// The errors name operator and node.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/onnx/onnx_file.h"
#include "thimble/formats/onnx/reader_values.h"
#include "thimble/formats/rows/expressions.h"
#include "thimble/formats/rows/recognise.h"
#include "thimble/graph/graph.h"

namespace thimble {

// What the file says about its outputs, besides the graph.
struct OnnxGraph {
  Graph graph;
  // Whether "logits" came with Softmax or Sigmoid behind, which is left off: the predictor applies it.
  bool has_softmax = false, has_sigmoid = false;
  bool has_answers = false;  // start and end logits apart; here they are the columns of "logits"
  std::vector<std::string> warnings;
};

class OnnxGraphReader {
 public:
  explicit OnnxGraphReader(const OnnxFile& file);

  Result<OnnxGraph> Read() &&;

 private:
  using Value = OnnxValue;
  using Kind = OnnxValue::Kind;
  using Reader = Status (OnnxGraphReader::*)(const OnnxNode&);
  static Reader Find(const OnnxNode& node);

  // One function per row of reader_ops.inc.
#define ONNX_READER(function) Status Read##function(const OnnxNode& node)
  ONNX_READER(Constant);
  ONNX_READER(ConstantOfShape);
  ONNX_READER(Shape);
  ONNX_READER(Size);
  ONNX_READER(Range);
  ONNX_READER(Reshape);
  ONNX_READER(Flatten);
  ONNX_READER(Transpose);
  ONNX_READER(Squeeze);
  ONNX_READER(Unsqueeze);
  ONNX_READER(Expand);
  ONNX_READER(Concat);
  ONNX_READER(Slice);
  ONNX_READER(Split);
  ONNX_READER(Pad);
  ONNX_READER(Gather);
  ONNX_READER(CumSum);
  ONNX_READER(Same);
  ONNX_READER(Cast);
  ONNX_READER(Arithmetic);
  ONNX_READER(Comparison);
  ONNX_READER(Not);
  ONNX_READER(Where);
  ONNX_READER(IsNaN);
  ONNX_READER(Clip);
  ONNX_READER(Elementwise);
  ONNX_READER(LeakyRelu);
  ONNX_READER(Gelu);
  ONNX_READER(Mish);
  ONNX_READER(Reduce);
  ONNX_READER(LayerNormalization);
  ONNX_READER(Softmax);
  ONNX_READER(MatMul);
  ONNX_READER(Gemm);
  ONNX_READER(DynamicQuantizeLinear);
  ONNX_READER(QuantizeLinear);
  ONNX_READER(DequantizeLinear);
  ONNX_READER(MatMulInteger);
  ONNX_READER(FusedAttention);
  ONNX_READER(EmbedLayerNormalization);
  ONNX_READER(SkipLayerNormalization);
  ONNX_READER(FusedGelu);
  ONNX_READER(FusedMatMul);
  ONNX_READER(DynamicQuantizeMatMul);
  ONNX_READER(MatMulIntegerToFloat);
#undef ONNX_READER

  // --- The file: graph_reader.cc
  Status ReadInputs();
  Status ReadNode(const OnnxNode& node);
  Result<OnnxGraph> Finish();
  Status ReadOutputs(OnnxGraph& graph);
  Result<Value> In(const OnnxNode& node, size_t i);  // an error where it is left out
  bool Has(const OnnxNode& node, size_t i) const {
    return i < node.inputs.size() && !node.inputs[i].empty();
  }
  // Numbers of an input, which has to be known.
  Result<std::vector<double>> Numbers(const OnnxNode& node, size_t i);
  Result<double> Number(const OnnxNode& node, size_t i);
  // Integers that stood in an attribute until some opset and in an input since; empty where neither is there.
  Result<std::vector<int64_t>> Integers(const OnnxNode& node, const char* attribute, size_t input);
  void Set(const OnnxNode& node, Value value, size_t output = 0);
  // Whether the only reader of the tensor is the node that asks.
  bool UsedOnce(const std::string& tensor) const;
  void Warn(const std::string& warning);

  // --- Matrices of our graph: read_matrices.cc
  struct Linear {
    ValueId input = kNoValue;
    Weight weight;
    std::optional<Weight> bias;
    double input_scale = 0;
    std::string name;
  };
  // A value of our graph. A linear waits for its bias until it is read.
  struct Base {
    ValueId id = kNoValue;
    int64_t width = 0;
    Rows rows = Rows::kTokens;
    std::optional<OpKind> made_by;
    std::optional<Linear> waiting;
  };
  std::string NameOf(const OnnxNode& node);
  std::string Unique(std::string name);
  OnnxAxis WidthAxis(int64_t width) const;
  OnnxAxes RowAxes(Rows rows, int64_t width) const;
  ValueId AddNode(OpKind op, const std::string& name, std::vector<ValueId> inputs,
                  std::vector<Weight> weights = {}, Attributes attrs = NoAttrs{});
  ExprId NewBase(ValueId id, OpKind made_by);
  Value MatrixValue(ExprId expr, OnnxAxes axes) const;
  const Base& BaseOf(ExprId e) const { return bases_.at(pool_[e].base); }
  // As a base, called after the node that made it, or else as asked.
  Result<ExprId> Emit(ExprId e, const std::string& name);
  Result<ExprId> EmitFunction(const RowFunction& function, ExprId x, const std::string& name);
  Result<ValueId> MatrixOf(const OnnxNode& node, const Value& value);
  Result<Value> EmitLinear(const OnnxNode& node, const Value& x, const OnnxConstant& weight,
                           bool weight_is_transposed);
  // Whether the constant became the bias of the linear that the matrix is.
  Result<bool> AddBias(const OnnxNode& node, const Value& matrix, size_t constant_input);
  Result<Tensor> SharedTensor(const OnnxConstant& constant, bool transpose);
  Weight VectorWeight(const RowFunction::Vector& vector, const std::string& name) const;
  Result<Weight> ConstantVector(const OnnxNode& node, size_t i, int64_t width, const char* suffix);
  // Lengths of the last axis agree and it runs over whole rows.
  bool WholeRows(const Value& value) const;
  std::optional<OnnxAxes> Broadcast(const OnnxAxes& a, const OnnxAxes& b) const;

  // --- By kind: read_elementwise.cc, read_products.cc, read_rows.cc, read_shapes.cc
  Result<Value> Combine(const OnnxNode& node, RowOp op, const Value& a, const Value& b);
  Result<Value> CombineNumbers(RowOp op, const Value& a, const Value& b);
  Result<Value> CombineMasks(RowOp op, const Value& a, const Value& b);
  Result<Value> CombineMatrices(const OnnxNode& node, RowOp op, const Value& a, const Value& b);
  // `constant_input`: which of the two it is.
  Result<Value> CombineWithConstant(const OnnxNode& node, RowOp op, const Value& matrix,
                                    const Value& constant, size_t constant_input);
  Result<Value> CombineScores(RowOp op, const Value& scores, const Value& other);
  Result<Value> CombineSpecial(const OnnxNode& node, RowOp op, const Value& a, const Value& b);
  Result<Value> MaskScores(const Value& scores, const Value& mask);
  Result<Value> Scores(const Value& query, const Value& key, double scale);
  Result<Value> Context(const OnnxNode& node, const Value& probabilities, const Value& value);
  Result<Value> EmitLookup(const std::string& name, const OnnxConstant& table, const Value& ids);
  Result<ValueId> PositionIds(const Value& positions);
  Result<Value> LookUpConstant(const OnnxConstant& table, size_t axis, const Value& indices);
  std::optional<Value> AsPositions(const Value& numbers) const;
  Result<Value> Pool(const std::string& name, const Value& matrix, PoolKind kind, OnnxAxes axes);
  bool IsSequenceAxis(const OnnxAxis& axis) const;
  Result<Value> SliceNumbers(const Value& value, std::vector<OnnxNumber> starts,
                             std::vector<OnnxNumber> ends, std::vector<int64_t> axes,
                             std::vector<int64_t> steps);
  Result<Value> SliceTokens(const OnnxNode& node, const Value& value, size_t axis,
                            const OnnxNumber& start, const OnnxNumber& end);
  Result<Value> IntegerProduct(const Value& x, const Value& weight, const Value* zeros);
  Result<Value> ScaledProduct(const OnnxNode& node, const Value& product, const Value& scale);
  Result<Value> ScaledRows(const OnnxNode& node, const Value& a, const Value& b);
  // LayerNorm of `x` with the inputs `gain` and `bias` of the node.
  Result<Value> EmitNorm(const OnnxNode& node, const Value& x, size_t gain, size_t bias);
  Result<Value> EmitActivation(const OnnxNode& node, const Value& x, Activation function);

  const OnnxFile& file_;
  Builder builder_;
  std::unordered_map<std::string, Value> values_;
  std::unordered_map<std::string_view, int> uses_;
  RowExpressions pool_;
  std::map<ExprId, Base> bases_;
  std::map<ExprId, std::string> constant_names_;
  std::map<ExprId, ExprId> emitted_;       // expressions that are values of our graph
  std::map<ExprId, std::string> made_at_;  // the place of the node that made an expression
  std::set<ExprId> hopeless_;              // that have been tried in vain
  std::map<std::pair<const void*, bool>, Tensor> tensors_;
  std::map<std::pair<int64_t, int64_t>, ValueId> position_ids_;
  std::unordered_set<std::string> names_;
  std::vector<std::string> warnings_;
  ValueId ids_ = kNoValue;
  OnnxNumber batch_{1, 1, 0}, sequence_{1, 0, 1};
  size_t stored_ = 0;
  int64_t longest_ = 0;  // that position tables allow; 0: none has been read
};

}  // namespace thimble
