// The graph that everything meets in: models build it, passes rewrite it, training and the runtime
// execute it, formats write it.
//
// Nodes stand in execution order and produce one value each. Values are named by dense ids; constants
// are Tensors that belong to a node. A Graph is a plain value: copying it copies structure and shares
// weights. It is valid after Verify(); Builder and the passes only give verified graphs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/ops.h"
#include "thimble/graph/tensor.h"

namespace thimble {

// Index into Graph::values.
enum class ValueId : int32_t {};
inline constexpr ValueId kNoValue{-1};
constexpr size_t Index(ValueId id) { return static_cast<size_t>(id); }

struct Value {
  std::string name;  // unique
  ValueType type;
};

// A constant of a node under its full name, e.g. "bert.encoder.layer.0.output.dense.weight".
struct Weight {
  std::string name;
  Tensor tensor;
};

struct Node {
  OpKind op;
  std::string name;  // path of the module, e.g. "encoder.layer.0.ffn.1.intermediate"; unique
  std::vector<ValueId> inputs;
  // In the order that the operation defines; optional trailing ones may be absent:
  //   embedding  table [rows, width]
  //   linear     weight [outputs, inputs], optional bias [outputs]
  //   affine, layer_norm  weight [width], bias [width]
  std::vector<Weight> weights;
  Attributes attrs;
  ValueId output = kNoValue;
};

// What the caller can ask for, by name: "logits", "last_hidden_state", "pooler_output", ...
struct GraphOutput {
  std::string name;
  ValueId value;
};

// Names of inputs that executors know how to fill.
inline constexpr std::string_view kInputIds = "input_ids";
inline constexpr std::string_view kTokenTypeIds = "token_type_ids";

struct Graph {
  std::vector<Value> values;
  std::vector<ValueId> inputs;  // int32 [tokens, 1] each, named input_ids, token_type_ids
  std::vector<Node> nodes;
  std::vector<GraphOutput> outputs;
  // Longest sequence that the position table and the tokenizer of the model allow.
  int64_t max_sequence_length = 0;

  const Value& value(ValueId id) const { return values[Index(id)]; }
  const GraphOutput* FindOutput(std::string_view name) const;
  const Node* FindNode(std::string_view name) const;
};

// Checks structure (ids in range, defined before use, unique names, declared outputs) and every node by
// its operation's shape rule. The message names the node.
Status Verify(const Graph& graph);

// Whether each node is one that the values depend on.
std::vector<bool> NeededNodes(const Graph& graph, std::span<const ValueId> values);

// Text form, one line per node, stable: tests of passes compare it.
//   %4 = linear(%3) [768, 3072] f32, [768] f32 -> [tokens, 768]  // encoder.layer.0.output
std::string Print(const Graph& graph);

// Per node and in sum. Tied weights count once in the total.
struct NodeCost {
  int64_t parameters = 0;
  Cost cost;
};
struct GraphCost {
  std::vector<NodeCost> nodes;
  int64_t parameters = 0;
  Cost total;
};
GraphCost ComputeCost(const Graph& graph, const Workload& workload);

// SHA-256 of all weights as they are stored (names, types, shapes, bytes, scales): two files with the same one
// hold the same weights, whatever their provenance says.
std::string WeightsSha256(const Graph& graph);

// Runs the plain references: slow, and the definition of right.
// `inputs` gives the ids for graph.inputs, in that order, batch.tokens() each. Returns the values of
// `outputs` (names of graph outputs), in that order.
Result<std::vector<ReferenceValue>> RunReference(const Graph& graph, const PackedBatch& batch,
                                                 std::span<const std::span<const int32_t>> inputs,
                                                 std::span<const std::string_view> outputs);

// Builds a graph expression by expression. The first error sticks: later calls return kNoValue and do
// nothing, Finish() reports it with the node's name.
class Builder {
 public:
  ValueId Input(std::string_view name);

  // One method for every operation; shape rules apply at once.
  ValueId Add(OpKind op, std::string name, std::vector<ValueId> inputs,
              std::vector<Weight> weights = {}, Attributes attrs = NoAttrs{});

  // Marks a value as an output of the graph.
  void Output(std::string_view name, ValueId value);
  // Makes `error` the one that Finish reports, unless there is one already.
  void Fail(Error error);
  bool ok() const { return !error_.has_value(); }
  // Type of a value; of kNoValue an empty one.
  ValueType type(ValueId id) const;

  Result<Graph> Finish(int64_t max_sequence_length) &&;

 private:
  Graph graph_;
  std::optional<Error> error_;
};

}  // namespace thimble
