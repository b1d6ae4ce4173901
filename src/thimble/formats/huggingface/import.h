// A Hugging Face directory as a Model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/graph/task.h"

namespace thimble {

struct HuggingFaceOptions {
  // Builds this in place of what the configuration names: features of a masked language model, say.
  std::optional<Task> task;
};

struct HuggingFaceImport {
  Model model;
  // Tensors of the checkpoint that the model does not need: buffers, a pooler, another head.
  std::vector<std::string> unused_tensors;
  // One line each, about what did not come along.
  std::vector<std::string> warnings;
};

// Reads config.json, the weights (model.safetensors or pytorch_model.bin, whole or in shards) and the
// tokenizer (tokenizer.json, or vocab.txt with its settings; without either the model takes ids only).
// Weights are views of the mapped files wherever possible: they keep their stored type, and the files
// must stay in place while the model lives. Errors name the file.
Result<HuggingFaceImport> ImportHuggingFace(const std::string& directory,
                                            const HuggingFaceOptions& options = {});

}  // namespace thimble
