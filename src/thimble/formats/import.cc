#include "thimble/formats/import.h"

#include <utility>

#include "thimble/base/file.h"
#include "thimble/formats/huggingface/import.h"
#include "thimble/formats/tfjs/import.h"

namespace thimble {

Result<ImportedModel> ImportDirectory(const std::string& directory, const ImportOptions& options) {
  ImportedModel imported;
  if (FileExists(directory + "/config.json")) {
    TRY(HuggingFaceImport import, ImportHuggingFace(directory, {.task = options.task}));
    return ImportedModel{.model = std::move(import.model),
                         .unused_tensors = std::move(import.unused_tensors),
                         .warnings = std::move(import.warnings)};
  }
  if (FileExists(directory + "/model.json")) {
    if (options.task.has_value()) {
      return InvalidArgument("--task is for Hugging Face directories");
    }
    TRY(imported.model, ImportTfjs(directory));
    return imported;
  }
  return NotFound(
      directory +
      ": has neither config.json (Hugging Face) nor model.json (TensorFlow.js); name the "
      "directory that holds one of them");
}

}  // namespace thimble
