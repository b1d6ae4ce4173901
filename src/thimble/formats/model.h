// A model as one thing: the graph and what is needed to use it from text. Importers make it, passes
// change it, the .thimble file holds it, the runtime runs it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "thimble/graph/graph.h"
#include "thimble/graph/task.h"
#include "thimble/text/tokenizer.h"

namespace thimble {

struct Model {
  std::string architecture;  // "bert", "mobilebert", ...: for people, nothing decides by it
  Task task = Task::kFeatures;
  std::vector<std::string> labels;  // name of output i; empty for tasks without labels
  // kMultiLabel: a label applies when its probability is at least this; empty: 0.5 for all.
  std::vector<float> thresholds;
  Graph graph;
  TokenizerSpec tokenizer;
  // Where the model comes from and what was done to it: key and text, in order.
  // "source", "source_sha256", "created_by", "weights", ...
  std::vector<std::pair<std::string, std::string>> provenance;
  // Of the .thimble file it was read from (formats/thimble/reader.h), by which adapters name their base; empty:
  // from none. Not part of what is written.
  std::string identity;
};

// Checks that the parts fit together: the graph has the outputs that its task reads, and there are
// as many labels and thresholds as logits. The graph itself is checked by Verify(graph).
Status VerifyModel(const Model& model);

}  // namespace thimble
