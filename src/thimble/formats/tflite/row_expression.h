// Operations on rows as expressions over one value, and what they are in the graph's terms.
//
// LayerNorm and activations reach a .tflite file in pieces, in an order that each converter chooses. They
// are recognised by what they compute: the pieces between two values are evaluated on rows of chosen
// numbers and compared with what the graph has. So no order of pieces is special.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "thimble/formats/tflite/tflite_generated.h"
#include "thimble/graph/graph.h"

namespace thimble {

// A row x to a row of the same width.
struct RowFunction {
  enum class Kind : uint8_t { kIdentity, kAffine, kActivation, kLayerNorm, kL2Normalize };
  Kind kind = Kind::kIdentity;
  std::vector<float> weight, bias;                // kAffine, kLayerNorm
  Activation activation = Activation::kIdentity;  // kActivation
  double epsilon = 0;                             // kLayerNorm
};

class RowFunctions {
 public:
  enum class Kind : uint8_t { kLeaf, kConstant, kUnary, kBinary, kReduce };
  struct Node {
    Kind kind = Kind::kLeaf;
    tfl::BuiltinOperator op = tfl::BuiltinOperator::ADD;
    int a = -1, b = -1;          // nodes; both smaller than the node itself
    std::vector<double> values;  // of a constant: one, or one per column
    double parameter = 0;        // as UnaryValue takes it
    int leaf = -1;               // the one that it depends on; -1: constants only
    int64_t width = 1;           // 1 for reductions and what is computed from them alone
    Rows rows = Rows::kTokens;
    std::optional<ValueId> value;  // in the graph under construction
  };

  int Leaf(ValueId value, const ValueType& type);
  int Constant(std::vector<double> values);
  int Unary(tfl::BuiltinOperator op, int a, double parameter);
  // Widths are equal, or one of them is 1; leaves are equal, or one operand is a constant.
  int Binary(tfl::BuiltinOperator op, int a, int b);
  int Reduce(tfl::BuiltinOperator op, int a);  // MEAN or SUM over the columns

  const Node& operator[](int node) const { return nodes_[static_cast<size_t>(node)]; }
  void SetValue(int node, ValueId value) { nodes_[static_cast<size_t>(node)].value = value; }

  // The nodes through which all that `node` takes from its leaf goes: from the leaf on, without `node`.
  std::vector<int> Cuts(int node) const;
  // What `node` is as a function of `from`, one of its cuts.
  std::optional<RowFunction> Recognise(int node, int from) const;

 private:
  using Column = std::vector<double>;  // rows x width
  // Values of `node` for `rows` rows of `from`.
  std::optional<Column> Evaluate(int node, int from, const Column& x, size_t rows) const;
  std::optional<RowFunction> AsAffine(int node, int from) const;
  std::optional<RowFunction> AsActivation(int node, int from) const;
  std::optional<RowFunction> AsNorm(int node, int from) const;
  std::vector<float> Snapped(const std::vector<double>& fitted, int node, int from) const;
  std::vector<bool> Reachable(int node, int from) const;
  int Add(Node node);

  std::vector<Node> nodes_;
};

}  // namespace thimble
