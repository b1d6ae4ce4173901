// The last touches on a graph that was read piece by piece.
#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "thimble/formats/tflite/graph_reader.h"
#include "thimble/graph/blocks.h"
#include "thimble/passes/copy_graph.h"

namespace thimble {
namespace {

bool AllOnes(const Tensor& tensor) {
  const std::vector<float> values = tensor.ToFloats();
  return std::all_of(values.begin(), values.end(), [](float v) { return v == 1; });
}

// linear -> affine with weights of one, where nothing else reads the linear: a bias that stood apart.
Result<Graph> FoldBiases(const Graph& graph) {
  std::vector<int> reads(graph.values.size(), 0);
  std::map<ValueId, size_t> maker;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    maker[graph.nodes[i].output] = i;
    for (const ValueId id : graph.nodes[i].inputs) ++reads[Index(id)];
  }
  for (const GraphOutput& output : graph.outputs) ++reads[Index(output.value)];
  std::map<size_t, size_t> bias_of;  // linear -> affine
  std::set<size_t> folded;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (node.op != OpKind::kAffine || !AllOnes(node.weights[0].tensor)) continue;
    const auto from = maker.find(node.inputs[0]);
    if (from == maker.end() || graph.nodes[from->second].op != OpKind::kLinear) continue;
    if (reads[Index(node.inputs[0])] != 1) continue;
    bias_of[from->second] = i;
    folded.insert(i);
  }
  // Layers that share a weight share its bias.
  std::map<std::pair<const std::byte*, std::vector<float>>, Tensor> shared;
  Builder builder;
  GraphCopier copy(graph, builder);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (folded.contains(i)) {
      copy[node.output] = copy[node.inputs[0]];
      continue;
    }
    const auto bias = bias_of.find(i);
    if (bias == bias_of.end()) {
      copy.Copy(node);
      continue;
    }
    std::vector<float> sum = graph.nodes[bias->second].weights[1].tensor.ToFloats();
    if (node.weights.size() > 1) {
      const std::vector<float> own = node.weights[1].tensor.ToFloats();
      for (size_t k = 0; k < sum.size(); ++k) sum[k] += own[k];
    }
    Tensor& tensor = shared[{node.weights[0].tensor.data().data(), sum}];
    if (tensor.dim(0) == 0) {
      tensor = Tensor::FromFloats({static_cast<int64_t>(sum.size())}, sum);
    }
    copy.Copy(node, {node.weights[0], {node.name + ".bias", tensor}});
  }
  copy.Outputs();
  return std::move(builder).Finish(graph.max_sequence_length);
}

// --- Names

std::vector<std::string> Places(const Graph& graph) {
  std::vector<std::string> places(graph.nodes.size(), "graph");
  const Result<Blocks> blocks = FindBlocks(graph);
  if (!blocks) return places;
  for (size_t b = blocks->hidden.size(); b-- > 0;) {
    const std::vector<bool> needed = NeededNodes(graph, {&blocks->hidden[b], 1});
    const std::string place = b == 0 ? "embeddings" : "encoder.layer." + std::to_string(b - 1);
    for (size_t i = 0; i < needed.size(); ++i) {
      if (needed[i]) places[i] = place;
    }
  }
  for (std::string& place : places) {
    if (place == "graph") place = "head";
  }
  return places;
}

// What a node does in its place, as far as its neighbours say.
std::vector<std::string> Parts(const Graph& graph) {
  std::vector<std::string> parts(graph.nodes.size());
  std::map<ValueId, size_t> maker;
  for (size_t i = 0; i < graph.nodes.size(); ++i) maker[graph.nodes[i].output] = i;
  const auto from = [&](const Node& node, size_t input) -> const Node* {
    const auto found = maker.find(node.inputs[input]);
    return found == maker.end() ? nullptr : &graph.nodes[found->second];
  };
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const Node* source = from(node, 0);
    parts[i] = std::string(GetOp(node.op).name);
    if (node.op == OpKind::kEmbedding) {
      const std::string& ids = graph.value(node.inputs[0]).name;
      parts[i] = ids == kInputIds       ? "word_embeddings"
                 : ids == kTokenTypeIds ? "token_type_embeddings"
                                        : "position_embeddings";
    } else if (node.op == OpKind::kAttention) {
      constexpr const char* kRoles[] = {"query", "key", "value"};
      for (size_t k = 0; k < 3; ++k) {
        const Node* role = from(node, k);
        if (role != nullptr && role->op == OpKind::kLinear) {
          parts[maker[role->output]] = "attention." + std::string(kRoles[k]);
        }
      }
    } else if (node.op == OpKind::kLinear && source != nullptr) {
      if (source->op == OpKind::kAttention) parts[i] = "attention.output";
      if (source->op == OpKind::kActivation) parts[i] = "output";
    } else if (node.op == OpKind::kActivation && source != nullptr &&
               source->op == OpKind::kLinear && parts[maker[source->output]] == "linear") {
      parts[maker[source->output]] = "intermediate";
    }
  }
  return parts;
}

Result<Graph> Named(const Graph& graph) {
  const std::vector<std::string> places = Places(graph), parts = Parts(graph);
  Builder builder;
  GraphCopier copy(graph, builder);
  std::map<std::string, int> used;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node node = graph.nodes[i];
    node.name = places[i] + "." + parts[i];
    if (const int count = ++used[node.name]; count > 1) {
      node.name += "." + std::to_string(count);
    }
    constexpr const char* kNames[] = {".weight", ".bias"};
    for (size_t w = 0; w < node.weights.size(); ++w) node.weights[w].name = node.name + kNames[w];
    copy.Copy(node);
  }
  copy.Outputs();
  return std::move(builder).Finish(graph.max_sequence_length);
}

}  // namespace

Result<Graph> TidyGraph(const Graph& graph) {
  TRY(const Graph needed, OnlyNeeded(graph));
  TRY(const Graph folded, FoldBiases(needed));
  return Named(folded);
}

}  // namespace thimble
