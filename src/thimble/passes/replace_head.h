// Gives a graph another head: what is behind its features is left out, a new one put in its place.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/graph/task.h"

namespace thimble {

struct NewHead {
  Task task = Task::kSingleLabel;
  int64_t labels = 2;  // ignored for kAnswers (2) and kRegression (1)
  // How a row per sequence is made. Unset: the graph's "pooler_output" where it has one, else the first token.
  std::optional<PoolKind> pool;
  // The new weights are normal with this standard deviation, biases zero.
  double spread = 0.02;
  uint64_t seed = 1;
};

// The result has the outputs "last_hidden_state", "pooler_output" if it is used, and "logits", given by a
// linear named "classifier" ("qa_outputs" for kAnswers). kFeatures: the features alone. All other weights are
// shared with `graph`. kUnsupported: a graph without "last_hidden_state", and heads over the vocabulary, which
// only an architecture can build.
Result<Graph> ReplaceHead(const Graph& graph, const NewHead& head);

// Whether each node is one that the features ("last_hidden_state" and, where it is given, "pooler_output") depend
// on; all others are the head. kUnsupported: a graph without "last_hidden_state".
Result<std::vector<bool>> FeatureNodes(const Graph& graph);

}  // namespace thimble
