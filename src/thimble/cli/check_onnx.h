// export --atol: an exported file, run in ONNX Runtime and compared with our own runtime.
#pragma once

#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/formats/onnx/export.h"

namespace thimble::cli {

// One output: the largest difference of any element.
struct OnnxDifference {
  std::string output;
  double largest = 0;
};

// Folder under which node_modules/onnxruntime-node was found: $THIMBLE_NPM, the working directory and those above it,
// or npm's global one. An error that says what to install where it is nowhere.
Result<std::string> FindOnnxRuntime();

// Runs `file` in Node on made-up ids (several sequences of different lengths, padded) and `model` in our runtime on the
// same, padding left out. `runtime`: what FindOnnxRuntime gave.
Result<std::vector<OnnxDifference>> CompareWithOnnxRuntime(const Model& model,
                                                           const std::string& file,
                                                           const std::string& runtime);

// Writes `path` if ONNX Runtime's outputs differ from ours by `atol` at most, and says by how much. kMismatch, with nothing
// written, if they differ by more.
Result<std::vector<OnnxDifference>> ExportCheckedOnnx(const Model& model, const std::string& path,
                                                      const OnnxOptions& options, double atol);

}  // namespace thimble::cli
