// A model's metrics on a labelled file, for verbs that change models and say what that costs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "thimble/base/result.h"
#include "thimble/data/dataset.h"
#include "thimble/formats/model.h"

namespace thimble::cli {

// In the model's task and with its labels. kInvalidData: no row that the model could be judged by.
Result<Dataset> ReadFor(const Model& model, const std::string& path);

struct Score {
  std::string metric;  // the main one
  double value = 0;
  nlohmann::json all;  // every metric by name
};
// `metric` empty: the task's main one.
Result<Score> ScoreOn(const Model& model, const Dataset& data, const std::string& metric,
                      int threads);

}  // namespace thimble::cli
