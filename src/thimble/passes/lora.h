// Low-rank adaptation (LoRA; Hu et al. 2021, equation 3): beside a frozen linear stand two thin ones that learn a
// task,
//   y = W x + b + B A x,   A [rank, inputs], B [outputs, rank]
//
// as nodes of the graph, so that whatever executes, judges or stores graphs needs to know nothing of them. For a
// linear "name":
//   name.lora_A  a linear without bias of the same input
//   name.lora_B  a linear without bias of that
//   name.lora    the sum of name and name.lora_B, which stands wherever name was read
// Weights are called after the weight that they change: what is beside "x.weight" is "x.lora_A.weight" and
// "x.lora_B.weight". Linears that share their weight share A and B too.
//
// The paper's factor alpha / rank is not in the graph: B holds it. Training multiplies the learning rate of B by it
// instead, which under Adam is the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

// How the names of the weights end.
inline constexpr std::string_view kLoraDownWeight = ".lora_A.weight";
inline constexpr std::string_view kLoraUpWeight = ".lora_B.weight";

struct LoraOptions {
  int64_t rank = 8;
  // Which linears. Each entry is
  //   "query", "key" or "value"   what an attention reads as such, whatever its name
  //   "all"                       every linear
  //   a name                      of a node or of its weight without ".weight", whole or from a dot on, where *
  //                               stands for any characters: "attention.output.dense", "encoder.layer.1?.*"
  // Only linears of the features are meant (FeatureNodes of replace_head.h): a head is trained itself.
  std::vector<std::string> targets = {"query", "value"};
  uint64_t seed = 1;  // of A, uniform within 1 / sqrt(inputs); B is zero
};

// kInvalidArgument: an entry that no linear answers to, a rank that a matrix does not have, a graph that has
// adapters. kUnsupported: a graph without "last_hidden_state".
Result<Graph> AddLora(const Graph& graph, const LoraOptions& options);

// Indices into Graph::nodes. Nodes that only look like an adapter (other inputs, read by others) are none.
struct LoraBranch {
  size_t linear = 0, down = 0, up = 0, sum = 0;  // name, name.lora_A, name.lora_B, name.lora
};
std::vector<LoraBranch> FindLora(const Graph& graph);

// Also passes of passes.inc:
//   MergeLora   W + B A in place of W, in its layout, as float32. kUnsupported: W is int8.
//   RemoveLora  takes every adapter out: the nodes and weights as they were before AddLora.

}  // namespace thimble
