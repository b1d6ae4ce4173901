// Whether two graphs compute the same from weights of the same shapes.
#pragma once

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

// Nothing if `graph` has the nodes, inputs, attributes, outputs and shapes of weights of `built`, which an architecture
// made of a configuration, by the nodes' names; names, types and values of weights may differ. Input scales of static
// quantization do not count: they say how executors round. kUnsupported otherwise: names the first node that differs,
// and how.
Status CheckSameGraph(const Graph& built, const Graph& graph);

}  // namespace thimble
