// What the handles of thimble.h hold.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "thimble.h"
#include "thimble/formats/model.h"
#include "thimble/runtime/predictor.h"

namespace thimble::c_api {

// A model and what C wants to point to. Predictors and results share it.
struct LoadedModel {
  explicit LoadedModel(Model loaded);

  Model model;
  std::vector<std::string> label_names;  // one per score
};

// One input's result with what the task decides on it.
struct Decided {
  Prediction prediction;
  std::vector<LabelScore> labels;
  std::vector<Answer> answers;
};

}  // namespace thimble::c_api

struct thimble_model {
  std::shared_ptr<const thimble::c_api::LoadedModel> loaded;
};

struct thimble_predictor {
  std::shared_ptr<const thimble::c_api::LoadedModel> loaded;
  bool no_answer = false;
  thimble::Predictor predictor;
};

struct thimble_tokens {
  thimble::Encoding encoding;
};

struct thimble_results {
  std::shared_ptr<const thimble::c_api::LoadedModel> loaded;
  std::vector<thimble::c_api::Decided> inputs;
};
