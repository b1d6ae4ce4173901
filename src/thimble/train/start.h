// The model that a training run starts from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/graph/ops.h"
#include "thimble/graph/task.h"

namespace thimble::train {

struct StartOptions {
  // A preset (models/presets.inc), a config.json, a Hugging Face directory or a .thimble file. The first two
  // start from random weights and need `vocabulary`.
  std::string model;
  std::vector<std::string> overrides;  // key=value for presets and configurations
  std::string vocabulary;              // a vocab.txt; replaces the tokenizer of a preset only
  bool cased = false;                  // with `vocabulary`: keep case and accents
  bool keep_accents = false;  // with `vocabulary`: lower-case, but keep accents and other marks
  // Weights to inherit for presets and configurations: a .thimble file or a Hugging Face directory.
  std::string inherit;
  std::vector<int> layers;  // which of its layers; empty: spread evenly
  Task task = Task::kSingleLabel;
  std::vector<std::string> labels;
  // How sequences are pooled for the head; unset: as the architecture does, or the first token.
  std::optional<PoolKind> pool;
  double spread = 0.02;  // of random weights
  uint64_t seed = 1;
};

struct Start {
  Model model;            // float32 or as stored; task, labels and tokenizer are set
  bool new_head = false;  // the head was made anew
  size_t inherited = 0;   // tensors that came from `inherit`
  // The stored model as it was read, whose weights `model` shares; none for presets and configurations.
  std::optional<Model> stored;
};

// A stored model keeps its head where task and labels are the same, and gets a new one otherwise.
Result<Start> StartFrom(const StartOptions& options);

// A .thimble file, or a directory that import reads; `task` builds that head in place of a directory's own.
Result<Model> OpenModel(const std::string& path, std::optional<Task> task = std::nullopt);

}  // namespace thimble::train
