// The engine as an executor of goldens: the graph goes through a .thimble file, as every model
// does.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "tests/support/golden_case.h"
#include "thimble/formats/model.h"
#include "thimble/runtime/session.h"

namespace thimble {

struct SessionExecutor {
  Graph graph;
  const Kernels* kernels = nullptr;  // null: the best ones

  Result<std::vector<ReferenceValue>> operator()(
      const PackedIds& packed, const std::vector<std::string_view>& outputs) const;
};

// The graph as a .thimble file gives it, after the pass of that name ("": none).
Result<Graph> ThroughFile(const Graph& graph, std::string_view pass);

}  // namespace thimble
