// A directory of any format that is read here, as a Model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/graph/task.h"

namespace thimble {

struct ImportOptions {
  std::optional<Task> task;  // in place of what the configuration says; Hugging Face only
};

struct ImportedModel {
  Model model;
  // Tensors of the checkpoint that the model does not need.
  std::vector<std::string> unused_tensors;
  // One line each, about what did not come along.
  std::vector<std::string> warnings;
};

// config.json makes it a Hugging Face directory, model.json a TensorFlow.js model. The files must
// stay in place while the model lives.
Result<ImportedModel> ImportDirectory(const std::string& directory,
                                      const ImportOptions& options = {});

}  // namespace thimble
