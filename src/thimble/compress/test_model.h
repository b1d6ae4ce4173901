// A small classifier with a tokenizer, for the tests of this folder.
#pragma once

#include <utility>

#include "thimble/formats/thimble/example_model.h"
#include "thimble/train/test_models.h"

namespace thimble::compress {

// `graph` classifies into three labels.
inline Model SmallModel(Graph graph = train::SmallBert()) {
  Model model = ExampleModel();
  model.graph = std::move(graph);
  model.task = Task::kSingleLabel;
  model.labels = {"a", "b", "c"};
  model.thresholds.clear();
  return model;
}

}  // namespace thimble::compress
