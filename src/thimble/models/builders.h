// The functions of models.inc; each lives in the file named after its architecture.
#pragma once

#include <nlohmann/json.hpp>

#include "thimble/models/architecture.h"

namespace thimble {

#define MODEL(model_type, Build, Describe, class_prefix)                         \
  Result<Graph> Build(const nlohmann::json& config, const BuildOptions& options, \
                      WeightSource& weights);                                    \
  Result<nlohmann::json> Describe(const Graph& graph);
#include "thimble/models/models.inc"
#undef MODEL

}  // namespace thimble
