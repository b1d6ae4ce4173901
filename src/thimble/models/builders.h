// The build functions of models.inc; each lives in the file named after its architecture.
#pragma once

#include <nlohmann/json.hpp>

#include "thimble/models/architecture.h"

namespace thimble {

#define MODEL(model_type, Function)                                                 \
  Result<Graph> Function(const nlohmann::json& config, const BuildOptions& options, \
                         WeightSource& weights);
#include "thimble/models/models.inc"
#undef MODEL

}  // namespace thimble
