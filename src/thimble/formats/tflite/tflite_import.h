// A TensorFlow Lite file with a transformer of text as a Model.
//
// The graph is read operation by operation and recognised (graph_reader.h); vocabulary and labels come from
// the archive appended to the file, or from where the options say. Weights keep their type: int8 codes stay
// int8, so that the model is as large as the file.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"

namespace thimble {

struct TfliteImportOptions {
  // In place of what the last operation says: logits alone may be of several kinds.
  std::optional<Task> task;
  std::string vocabulary;          // a vocab.txt; empty: the one in the file
  std::string labels;              // a label a line; empty: those in the file
  std::optional<bool> lower_case;  // unset: as the vocabulary looks
};

struct TfliteImport {
  Model model;
  std::vector<std::string> warnings;
};

Result<TfliteImport> ImportTflite(const std::string& path, const TfliteImportOptions& options = {});

// The same from bytes, which begin at a multiple of 16; files that the options name are read all the same.
Result<TfliteImport> ImportTflite(std::span<const std::byte> bytes,
                                  const TfliteImportOptions& options = {});

}  // namespace thimble
