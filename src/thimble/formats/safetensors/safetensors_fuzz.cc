// The reader of safetensors files, and every tensor that it lets through.
#include <cstddef>
#include <cstdint>

#include "thimble/formats/safetensors/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace thimble;
  const Result<SafetensorsFile> file =
      ParseSafetensors(std::as_bytes(std::span(data, size)), nullptr);
  if (!file) return 0;
  for (const auto& [name, stored] : file->tensors) {
    if (const Result<Tensor> tensor = Load(stored)) (void)tensor->ToFloats();
  }
  return 0;
}
