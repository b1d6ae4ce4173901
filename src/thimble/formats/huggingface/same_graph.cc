#include "thimble/formats/huggingface/same_graph.h"

#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "thimble/base/quote.h"

namespace thimble {
namespace {

// Numbers and enumerators alike, which a double holds exactly.
class Collector {
 public:
  template <class T>
  void operator()(const char*, T& value) {
    if constexpr (std::is_enum_v<T>) {
      values.push_back(static_cast<double>(static_cast<int64_t>(value)));
    } else {
      values.push_back(static_cast<double>(value));
    }
  }
  template <class T>
  void Optional(const char*, T&) {}  // the input scale of a linear

  std::vector<double> values;
};

std::vector<double> AttributeValues(Attributes attrs) {
  Collector collector;
  std::visit([&](auto& a) { a.Visit(collector); }, attrs);
  return std::move(collector.values);
}

std::vector<std::string_view> InputNames(const Graph& graph, const Node& node) {
  std::vector<std::string_view> names;
  for (const ValueId id : node.inputs) names.push_back(graph.value(id).name);
  return names;
}

std::string OpName(const Node& node) { return std::string(GetOp(node.op).name); }

// What in `node` is not as in `built`; empty: nothing.
std::string Difference(const Graph& built_graph, const Node& built, const Graph& graph,
                       const Node& node) {
  if (node.op != built.op) {
    return "is of the operation " + OpName(node) + ", where the architecture has " + OpName(built);
  }
  if (InputNames(graph, node) != InputNames(built_graph, built)) {
    return "reads other values than in the architecture";
  }
  if (AttributeValues(node.attrs) != AttributeValues(built.attrs)) {
    return "has other attributes than in the architecture";
  }
  if (node.weights.size() != built.weights.size()) {
    return "has another number of weights than in the architecture";
  }
  for (size_t i = 0; i < node.weights.size(); ++i) {
    const Shape &shape = node.weights[i].tensor.shape(), &wanted = built.weights[i].tensor.shape();
    if (shape != wanted)
      return "has a weight " + ShapeText(shape) + ", where the architecture has " +
             ShapeText(wanted);
  }
  return {};
}

// Why a node that an architecture does not have may be there.
std::string Explanation(std::string_view name) {
  if (name.ends_with(".down") || name.ends_with(".up")) {
    return ": a matrix was factorized into two, and Hugging Face's classes hold it as one";
  }
  if (name.find(".lora") != name.npos) {
    return ": an adapter runs beside the model; add it into the weights with --merge-adapter or "
           "thimble merge";
  }
  if (name.ends_with(".unsmoothed")) {
    return ": an output was smoothed for quantization, which Hugging Face's classes cannot undo";
  }
  return ": the architecture has no such node";
}

}  // namespace

Status CheckSameGraph(const Graph& built, const Graph& graph) {
  std::unordered_map<std::string_view, const Node*> nodes;
  for (const Node& node : built.nodes) nodes.emplace(node.name, &node);
  for (const Node& node : graph.nodes) {
    if (!nodes.contains(node.name)) return Unsupported(node.name + Explanation(node.name));
  }
  std::unordered_map<std::string_view, const Node*> found;
  for (const Node& node : graph.nodes) found.emplace(node.name, &node);
  for (const Node& node : built.nodes) {
    const auto same = found.find(node.name);
    if (same == found.end()) {
      return Unsupported(node.name + ": the graph has no such node, which the architecture has");
    }
    const std::string difference = Difference(built, node, graph, *same->second);
    if (!difference.empty()) return Unsupported(node.name + ": " + difference);
  }
  for (const GraphOutput& output : graph.outputs) {
    const GraphOutput* same = built.FindOutput(output.name);
    if (same == nullptr || built.value(same->value).name != graph.value(output.value).name) {
      return Unsupported("the output " + Quoted(output.name) +
                         " is not where the architecture has it");
    }
  }
  return {};
}

}  // namespace thimble
