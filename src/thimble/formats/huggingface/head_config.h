// What config.json says about a model's outputs: task and names of the labels.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/huggingface/json.h"
#include "thimble/formats/tensors/stored_tensor.h"
#include "thimble/graph/task.h"

namespace thimble {

// How the names of Hugging Face's classes end: "ForSequenceClassification".
std::string_view ClassSuffix(Task task);
// "single_label_classification"; nothing for tasks of which "problem_type" says nothing.
std::optional<std::string_view> ProblemTypeName(Task task);

struct HeadConfig {
  Task task = Task::kFeatures;
  // The task is a guess among kSingleLabel and kRegression, which one output decides for the latter.
  bool one_label_is_regression = false;
  // From id2label, in the order of their ids; empty: the configuration has none.
  std::vector<std::string> label_names;
  // Outputs of the head; unset: as many as the checkpoint has. Hugging Face leaves the key out when
  // there are two.
  std::optional<int64_t> labels;
};

// `tensors` decide where the configuration names no architecture, as those of the first years do.
// `task`, if set, is the one to build.
Result<HeadConfig> ReadHeadConfig(const Json& config, const StoredTensors& tensors,
                                  std::optional<Task> task);

}  // namespace thimble
