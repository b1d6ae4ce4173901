// Bytes as a .tflite file. A model that is read must verify.
#include <cstddef>
#include <cstdint>
#include <span>

#include "thimble/formats/tflite/tflite_import.h"
#include "thimble/graph/tensor.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace thimble;
  // A copy begins where the reader wants it to.
  const Tensor aligned =
      Tensor::Copy(DType::kU8, {static_cast<int64_t>(size)}, std::as_bytes(std::span(bytes, size)));
  const Result<TfliteImport> import = ImportTflite(aligned.data());
  if (import.has_value() && !Verify(import->model.graph).has_value()) __builtin_trap();
  if (!import.has_value() && import.error().message().find('\n') != std::string::npos) {
    __builtin_trap();
  }
  return 0;
}
