#include "thimble/cli/weights.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "thimble/base/check.h"
#include "thimble/passes/passes.h"

namespace thimble::cli {

void AddWeightsOption(CLI::App& app, std::string& weights) {
  app.add_option("--weights", weights,
                 "type of matrices: f32, f16, or int8 with a scale per row (default: as they are)")
      ->check(CLI::IsMember({"f32", "f16", "int8"}).description(""))
      ->type_name("TYPE");
}

Status ConvertWeights(Model& model, const std::string& weights) {
  if (weights.empty()) return {};
  const Pass* pass = FindPass("weights_to_" + weights);
  THIMBLE_CHECK(pass != nullptr);
  TRY(model.graph, RunPass(*pass, model.graph));
  auto& provenance = model.provenance;
  const auto noted = std::find_if(provenance.begin(), provenance.end(),
                                  [](const auto& fact) { return fact.first == "weights"; });
  if (noted != provenance.end()) {
    noted->second = weights;
  } else {
    provenance.emplace_back("weights", weights);
  }
  return {};
}

}  // namespace thimble::cli
