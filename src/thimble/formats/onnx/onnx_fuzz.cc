// Bytes as an ONNX file without anything beside it; external data come from the bytes themselves.
#include <cstddef>
#include <cstdint>

#include "thimble/formats/onnx/import.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace thimble;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto open = [&](const std::string&) -> Result<OnnxExternalFile> {
    return OnnxExternalFile(bytes, nullptr);
  };
  const Result<ImportedModel> imported = ImportOnnx(bytes, nullptr, open);
  if (imported && !Verify(imported->model.graph)) __builtin_trap();
  return 0;
}
