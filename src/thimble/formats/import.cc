#include "thimble/formats/import.h"

#include <filesystem>
#include <utility>

#include "thimble/base/file.h"
#include "thimble/formats/huggingface/import.h"
#include "thimble/formats/onnx/import.h"
#include "thimble/formats/tfjs/import.h"
#include "thimble/formats/tflite/tflite_import.h"

namespace thimble {
namespace {

// The ONNX file of a directory of Optimum's, which has the configuration but no weights of its own; empty if there is
// none.
std::string OnnxInside(const std::string& directory) {
  for (const char* weights : {"/model.safetensors", "/model.safetensors.index.json",
                              "/pytorch_model.bin", "/pytorch_model.bin.index.json"}) {
    if (FileExists(directory + weights)) return {};
  }
  for (const char* name : {"/model.onnx", "/onnx/model.onnx"}) {
    if (FileExists(directory + name)) return directory + name;
  }
  return {};
}

Result<ImportedModel> ImportTfliteFile(const std::string& path, const ImportOptions& options) {
  TRY(TfliteImport import, ImportTflite(path, {.task = options.task,
                                               .vocabulary = options.vocabulary,
                                               .labels = options.labels,
                                               .lower_case = options.lower_case}));
  return ImportedModel{.model = std::move(import.model), .warnings = std::move(import.warnings)};
}

}  // namespace

Result<ImportedModel> ImportFrom(const std::string& path, const ImportOptions& options) {
  std::error_code error;
  const bool onnx = path.ends_with(".onnx");
  const bool file = std::filesystem::is_regular_file(path, error);
  if (file && !onnx) return ImportTfliteFile(path, options);
  if (!options.vocabulary.empty() || !options.labels.empty() || options.lower_case.has_value()) {
    return InvalidArgument("--vocab, --labels, --cased and --uncased are for .tflite files");
  }
  if (onnx) return ImportOnnx(path, options);
  if (const std::string inside = OnnxInside(path); !inside.empty()) {
    return ImportOnnx(inside, options);
  }
  if (FileExists(path + "/config.json")) {
    TRY(HuggingFaceImport import, ImportHuggingFace(path, {.task = options.task}));
    return ImportedModel{.model = std::move(import.model),
                         .unused_tensors = std::move(import.unused_tensors),
                         .warnings = std::move(import.warnings)};
  }
  if (FileExists(path + "/model.json")) {
    if (options.task.has_value()) {
      return InvalidArgument("--task is for Hugging Face directories, .tflite and .onnx files");
    }
    ImportedModel imported;
    TRY(imported.model, ImportTfjs(path));
    return imported;
  }
  return NotFound(path +
                  ": is neither a .tflite or .onnx file nor a directory with config.json (Hugging "
                  "Face), model.onnx or model.json (TensorFlow.js); name one of them");
}

}  // namespace thimble
