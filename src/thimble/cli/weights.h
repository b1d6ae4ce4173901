// --weights f32|f16|int8: how verbs that write models store matrices.
#pragma once

#include <string>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"

namespace CLI {
class App;
}

namespace thimble::cli {

// Declares the option; `weights` stays empty where it is not given: as the source has them.
void AddWeightsOption(CLI::App& app, std::string& weights);

// Converts the model's weights and notes the type in its provenance; an empty type changes nothing.
Status ConvertWeights(Model& model, const std::string& weights);

}  // namespace thimble::cli
