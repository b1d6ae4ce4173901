#include "thimble/graph/graph.h"

#include <algorithm>
#include <set>
#include <unordered_set>

#include "thimble/base/sha256.h"

namespace thimble {
namespace {

// Runs the shape rule of one node; errors carry the operation and the node's name.
Result<ValueType> InferNode(const Node& node, std::span<const ValueType> input_types) {
  const OpInfo& op = GetOp(node.op);
  const auto place = [&] { return std::string(op.name) + " " + node.name; };
  if (node.attrs.index() != op.attribute_index) {
    return InvalidData(place() + " carries the attributes of another operation");
  }
  std::vector<Tensor> weights;
  for (const Weight& weight : node.weights) weights.push_back(weight.tensor);
  Result<ValueType> type = op.infer({node.attrs, input_types, weights});
  if (!type.has_value()) return std::move(type).error().In(place());
  if (type->width < 1 || type->width > kMaxWidth) {
    return InvalidData(place() + " gives rows of width " + std::to_string(type->width) +
                       ", the most is " + std::to_string(kMaxWidth));
  }
  return type;
}

Status CheckUnique(std::unordered_set<std::string_view>& seen, std::string_view name,
                   const char* what) {
  if (name.empty()) return InvalidData(std::string("a ") + what + " has no name");
  if (!seen.insert(name).second) {
    return InvalidData(std::string("two ") + what + "s are called '" + std::string(name) + "'");
  }
  return {};
}

}  // namespace

const GraphOutput* Graph::FindOutput(std::string_view name) const {
  const auto found = std::find_if(outputs.begin(), outputs.end(),
                                  [&](const GraphOutput& output) { return output.name == name; });
  return found == outputs.end() ? nullptr : &*found;
}

const Node* Graph::FindNode(std::string_view name) const {
  const auto found =
      std::find_if(nodes.begin(), nodes.end(), [&](const Node& node) { return node.name == name; });
  return found == nodes.end() ? nullptr : &*found;
}

Status Verify(const Graph& graph) {
  std::vector<bool> defined(graph.values.size(), false);
  const auto in_range = [&](ValueId id) {
    return static_cast<int32_t>(id) >= 0 && Index(id) < graph.values.size();
  };
  std::unordered_set<std::string_view> value_names, node_names;
  for (const Value& value : graph.values) {
    TRY_VOID(CheckUnique(value_names, value.name, "value"));
  }
  for (const ValueId id : graph.inputs) {
    if (!in_range(id)) return InvalidData("an input of the graph is not a value");
    if (defined[Index(id)])
      return InvalidData("input " + graph.value(id).name + " is listed twice");
    if (graph.value(id).name != kInputIds && graph.value(id).name != kTokenTypeIds) {
      return InvalidData("input '" + graph.value(id).name + "' is not one that executors can fill");
    }
    if (graph.value(id).type != ValueType{Element::kInt32, Rows::kTokens, 1}) {
      return InvalidData("input " + graph.value(id).name + " is not a column of ids");
    }
    defined[Index(id)] = true;
  }
  for (const Node& node : graph.nodes) {
    if (static_cast<size_t>(node.op) >= kOpCount) return InvalidData("a node has no operation");
    TRY_VOID(CheckUnique(node_names, node.name, "node"));
    std::vector<ValueType> types;
    for (const ValueId id : node.inputs) {
      if (!in_range(id) || !defined[Index(id)]) {
        return InvalidData(node.name + " reads a value that is not computed before it");
      }
      types.push_back(graph.value(id).type);
    }
    if (!in_range(node.output) || defined[Index(node.output)]) {
      return InvalidData(node.name + " writes a value that is not its own");
    }
    TRY(const ValueType type, InferNode(node, types));
    if (type != graph.value(node.output).type) {
      return InvalidData(node.name + " gives another type than its value is declared with");
    }
    defined[Index(node.output)] = true;
  }
  std::unordered_set<std::string_view> output_names;
  for (const GraphOutput& output : graph.outputs) {
    TRY_VOID(CheckUnique(output_names, output.name, "output"));
    if (!in_range(output.value) || !defined[Index(output.value)]) {
      return InvalidData("output " + output.name + " is not computed");
    }
    if (graph.value(output.value).type.element != Element::kFloat32) {
      return InvalidData("output " + output.name + " is a column of ids");
    }
  }
  if (graph.outputs.empty()) return InvalidData("the graph has no output");
  for (size_t i = 0; i < defined.size(); ++i) {
    if (!defined[i]) return InvalidData("value " + graph.values[i].name + " is not computed");
  }
  if (graph.max_sequence_length < 1) return InvalidData("the longest sequence has no token");
  return {};
}

std::vector<bool> NeededNodes(const Graph& graph, std::span<const ValueId> values) {
  std::vector<bool> wanted(graph.values.size(), false), needed(graph.nodes.size(), false);
  for (const ValueId value : values) wanted[Index(value)] = true;
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    if (!wanted[Index(graph.nodes[i].output)]) continue;
    needed[i] = true;
    for (const ValueId input : graph.nodes[i].inputs) wanted[Index(input)] = true;
  }
  return needed;
}

GraphCost ComputeCost(const Graph& graph, const Workload& workload) {
  GraphCost sum;
  // Tied weights count once. They share storage, or only their name where a file keeps one weight in
  // two layouts.
  std::set<std::pair<const std::byte*, size_t>> counted;
  std::set<std::string_view> counted_names;
  for (const Node& node : graph.nodes) {
    NodeCost cost;
    std::vector<ValueType> types;
    for (const ValueId id : node.inputs) types.push_back(graph.value(id).type);
    std::vector<Tensor> weights;
    for (const Weight& weight : node.weights) {
      weights.push_back(weight.tensor);
      const auto elements = static_cast<int64_t>(weight.tensor.elements());
      cost.parameters += elements;
      const std::span<const std::byte> data = weight.tensor.data();
      const bool new_storage = counted.insert({data.data(), data.size()}).second;
      const bool new_name = counted_names.insert(weight.name).second;
      if (new_storage && new_name) sum.parameters += elements;
    }
    cost.cost = GetOp(node.op).cost({node.attrs, types, weights}, workload);
    sum.total.macs += cost.cost.macs;
    sum.total.weight_bytes += cost.cost.weight_bytes;
    sum.nodes.push_back(cost);
  }
  return sum;
}

namespace {

Status CheckBatch(const PackedBatch& batch) {
  if (batch.offsets.size() < 2 || batch.offsets.front() != 0) {
    return InvalidArgument("the batch has no sequence");
  }
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
    if (batch.offsets[s] >= batch.offsets[s + 1]) {
      return InvalidArgument("sequence " + std::to_string(s) + " of the batch is empty");
    }
  }
  if (!batch.mask.empty() && batch.mask.size() != batch.tokens()) {
    return InvalidArgument("the mask has " + std::to_string(batch.mask.size()) + " entries for " +
                           std::to_string(batch.tokens()) + " tokens");
  }
  return {};
}

}  // namespace

std::string WeightsSha256(const Graph& graph) {
  Sha256 hash;
  const auto text = [&](const std::string& t) { hash.Update(std::as_bytes(std::span(t))); };
  for (const Node& node : graph.nodes) {
    for (const Weight& weight : node.weights) {
      const Tensor& tensor = weight.tensor;
      text(weight.name + " " + std::string(DTypeName(tensor.dtype())) + " " +
           ShapeText(tensor.shape()) + "\n");
      hash.Update(tensor.data());
      hash.Update(std::as_bytes(tensor.scales()));
    }
  }
  return std::move(hash).HexDigest();
}

Result<std::vector<ReferenceValue>> RunReference(const Graph& graph, const PackedBatch& batch,
                                                 std::span<const std::span<const int32_t>> inputs,
                                                 std::span<const std::string_view> outputs) {
  TRY_VOID(CheckBatch(batch));
  std::vector<ReferenceValue> values(graph.values.size());
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    if (i >= inputs.size() || inputs[i].size() != batch.tokens()) {
      return InvalidArgument("input " + graph.value(graph.inputs[i]).name + " needs " +
                             std::to_string(batch.tokens()) + " ids");
    }
    ReferenceValue& value = values[Index(graph.inputs[i])];
    value.type = graph.value(graph.inputs[i]).type;
    value.ints.assign(inputs[i].begin(), inputs[i].end());
  }
  for (const Node& node : graph.nodes) {
    std::vector<ValueType> types;
    std::vector<const ReferenceValue*> arguments;
    std::vector<Tensor> weights;
    for (const ValueId id : node.inputs) {
      types.push_back(graph.value(id).type);
      arguments.push_back(&values[Index(id)]);
    }
    for (const Weight& weight : node.weights) weights.push_back(weight.tensor);
    Result<ReferenceValue> value =
        GetOp(node.op).reference({node.attrs, types, weights}, batch, arguments);
    if (!value.has_value()) return std::move(value).error().In(node.name);
    values[Index(node.output)] = *std::move(value);
  }
  std::vector<ReferenceValue> results;
  for (const std::string_view name : outputs) {
    const GraphOutput* output = graph.FindOutput(name);
    if (output == nullptr) {
      return InvalidArgument("the graph has no output '" + std::string(name) + "'");
    }
    results.push_back(values[Index(output->value)]);
  }
  return results;
}

ValueId Builder::Input(std::string_view name) {
  if (!ok()) return kNoValue;
  const auto id = static_cast<ValueId>(graph_.values.size());
  graph_.values.push_back({std::string(name), {Element::kInt32, Rows::kTokens, 1}});
  graph_.inputs.push_back(id);
  return id;
}

ValueId Builder::Add(OpKind op, std::string name, std::vector<ValueId> inputs,
                     std::vector<Weight> weights, Attributes attrs) {
  if (!ok()) return kNoValue;
  // Those of a linear are all optional.
  if (op == OpKind::kLinear && std::holds_alternative<NoAttrs>(attrs)) attrs = LinearAttrs{};
  Node node{op, std::move(name), std::move(inputs), std::move(weights), std::move(attrs), kNoValue};
  std::vector<ValueType> types;
  for (const ValueId id : node.inputs) types.push_back(type(id));
  Result<ValueType> inferred = InferNode(node, types);
  if (!inferred.has_value()) {
    Fail(std::move(inferred).error());
    return kNoValue;
  }
  node.output = static_cast<ValueId>(graph_.values.size());
  graph_.values.push_back({node.name, *inferred});
  graph_.nodes.push_back(std::move(node));
  return graph_.nodes.back().output;
}

void Builder::Output(std::string_view name, ValueId value) {
  if (ok()) graph_.outputs.push_back({std::string(name), value});
}

void Builder::Fail(Error error) {
  if (ok()) error_ = std::move(error);
}

ValueType Builder::type(ValueId id) const {
  return id == kNoValue ? ValueType{} : graph_.value(id).type;
}

Result<Graph> Builder::Finish(int64_t max_sequence_length) && {
  if (!ok()) return *std::move(error_);
  graph_.max_sequence_length = max_sequence_length;
  TRY_VOID(Verify(graph_));
  return std::move(graph_);
}

}  // namespace thimble
