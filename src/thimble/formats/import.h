// A directory or file of any format that is read here, as a Model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/graph/task.h"

namespace thimble {

struct ImportOptions {
  // In place of what the configuration says; not of TensorFlow.js, and of ONNX files only what their head can be.
  std::optional<Task> task;
  // Of .tflite files only, which may lack them: a vocab.txt, a file with a label a line, and whether text is
  // lowered (unset: where the vocabulary has no capital letters).
  std::string vocabulary, labels;
  std::optional<bool> lower_case;
};

struct ImportedModel {
  Model model;
  // Tensors of the checkpoint that the model does not need.
  std::vector<std::string> unused_tensors;
  // One line each, about what did not come along.
  std::vector<std::string> warnings;
};

// A file is a .tflite if it begins as one, an ONNX file by its ending. config.json makes a directory Hugging Face's, or
// with model.onnx in place of weights Optimum's; model.json a TensorFlow.js model. The files must stay in place while the
// model lives.
Result<ImportedModel> ImportFrom(const std::string& path, const ImportOptions& options = {});

}  // namespace thimble
