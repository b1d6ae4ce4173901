// The weights of a graph as Hugging Face's classes hold them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/formats/safetensors/safetensors.h"

namespace thimble {

enum class PrunedHeads : uint8_t {
  kNamed,  // in "pruned_heads", which version 4 of transformers reads
  kZeros,  // they stay, with zeros, for version 5, which has no pruning of heads
};

struct WrittenWeights {
  nlohmann::json
      config;  // of DescribeGraph, with "pruned_heads" where layers have fewer heads than the first ones had
  // By the names under which the architecture's builder asks a checkpoint for them; row-major, float32, float16 or
  // bfloat16 as in the graph, float32 where that is quantized.
  std::vector<NamedTensor> tensors;
  // What was padded, one line each: for people.
  std::vector<std::string> notes;
};

// Proof against a description that is wrong: the graph that the configuration gives, cut as this one was, has to be
// this one, node by node.
//
// Pruned models: heads that are gone are named in "pruned_heads", and their rows and columns are left out (or zeros); an
// attention without any keeps one whose output is multiplied by zero. Feed-forward networks all get the width of the widest, by
// rows and columns of zeros, as nn_pruning's models have them.
//
// kUnsupported: what the classes cannot hold, by the name of the first node that differs.
Result<WrittenWeights> WriteWeights(const Model& model, PrunedHeads heads = PrunedHeads::kNamed);

}  // namespace thimble
