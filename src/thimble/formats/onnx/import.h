// An ONNX file as a Model: our own exporter's, and those of BERT and its relatives as torch.onnx, Optimum and ONNX
// Runtime's tools write them (graph_reader.h says what is read).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "thimble/base/result.h"
#include "thimble/formats/import.h"
#include "thimble/formats/onnx/onnx_file.h"

namespace thimble {

// The tokenizer, labels and task come from the file's metadata where our exporter left them, else from config.json and
// the tokenizer's files beside it (or one folder up, where it lies in a folder "onnx"); what nobody says is told from
// the shapes of the outputs. External data are read from the file's own folder. The file must stay in place while the
// model lives. Errors name the file.
Result<ImportedModel> ImportOnnx(const std::string& path, const ImportOptions& options = {});

// The same from bytes in memory, with nothing beside them.
Result<ImportedModel> ImportOnnx(std::span<const std::byte> bytes,
                                 std::shared_ptr<const void> owner, const OnnxExternalOpener& open,
                                 const ImportOptions& options = {});

}  // namespace thimble
