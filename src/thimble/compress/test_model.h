// A small classifier with a tokenizer, for the tests of this folder.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "thimble/compress/calibration.h"
#include "thimble/formats/thimble/example_model.h"
#include "thimble/models/architecture.h"
#include "thimble/train/libraries.h"
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

// The same with two layers of four heads.
inline Model TwoLayerModel(int64_t hidden, int64_t intermediate) {
  const nlohmann::json config = {
      {"model_type", "bert"},         {"vocab_size", 40},
      {"hidden_size", hidden},        {"num_hidden_layers", 2},
      {"num_attention_heads", 4},     {"intermediate_size", intermediate},
      {"max_position_embeddings", 32}};
  train::RandomWeights weights(1, 0.1);
  return SmallModel(*BuildGraph(config, {.task = Task::kSingleLabel, .labels = 3}, weights));
}

inline const ProgressFn kQuiet = [](double) { return Status(); };

// Matrices are small, and on a busy machine threads that wait for each other take minutes.
[[maybe_unused]] inline const bool kOneThread = (train::UseOneThreadPerCall(), true);

}  // namespace thimble::compress
