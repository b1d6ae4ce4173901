// Passes: functions from a graph to a graph. The graph given stays as it is; what a pass does not
// touch is shared with the result.
#pragma once

#include <span>
#include <string_view>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

#define PASS(name, function, description) Result<Graph> function(const Graph& graph);
#include "thimble/passes/passes.inc"
#undef PASS

struct Pass {
  std::string_view name, description;
  Result<Graph> (*run)(const Graph&);
};

std::span<const Pass> AllPasses();
const Pass* FindPass(std::string_view name);  // null if there is none

// Runs the pass and verifies what it gives; errors name the pass.
Result<Graph> RunPass(const Pass& pass, const Graph& graph);

}  // namespace thimble
