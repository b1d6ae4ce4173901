// A model of a few thousand weights and data that it can learn, for the tests of this folder.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "thimble/base/random.h"
#include "thimble/models/architecture.h"
#include "thimble/train/examples.h"
#include "thimble/train/initializer.h"
#include "thimble/train/kernels/kernels.h"

namespace thimble::train {

inline Graph SmallBert(Task task = Task::kSingleLabel, int64_t labels = 3, uint64_t seed = 1) {
  const auto config = nlohmann::json::parse(
      R"({"model_type":"bert","vocab_size":40,"hidden_size":16,"num_hidden_layers":2,
          "num_attention_heads":2,"intermediate_size":32,"max_position_embeddings":32})");
  RandomWeights weights(seed, 0.1);
  return *BuildGraph(config, {.task = task, .labels = labels}, weights);
}

// The label is decided by which of three tokens a sequence holds.
inline std::vector<TrainingExample> SmallData(size_t count = 96, Task task = Task::kSingleLabel) {
  Random random(11);
  std::vector<TrainingExample> examples;
  for (size_t i = 0; i < count; ++i) {
    TrainingExample e;
    const auto label = static_cast<int32_t>(random.Below(3));
    const size_t length = 3 + random.Below(8);
    e.ids.push_back(1);
    for (size_t t = 0; t < length; ++t) {
      e.ids.push_back(static_cast<int32_t>(10 + random.Below(30)));
    }
    e.ids[1 + random.Below(length)] = 5 + label;
    e.type_ids.assign(e.ids.size(), 0);
    e.labels =
        task == Task::kAnswers ? std::vector<int32_t>{1, 1 + label} : std::vector<int32_t>{label};
    e.value = static_cast<float>(label);
    e.number = i;
    e.key = MixKeys(77, static_cast<uint32_t>(i));
    examples.push_back(std::move(e));
  }
  return examples;
}

}  // namespace thimble::train
