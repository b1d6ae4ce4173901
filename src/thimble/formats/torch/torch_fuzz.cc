// Whole PyTorch files: zip archives and those before them.
#include <cstddef>
#include <cstdint>

#include "thimble/formats/torch/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace thimble;
  const Result<StoredTensors> tensors = ParseTorch(std::as_bytes(std::span(data, size)), nullptr);
  if (!tensors) return 0;
  for (const auto& [name, stored] : *tensors) {
    if (const Result<Tensor> tensor = Load(stored)) (void)tensor->ToFloats();
  }
  return 0;
}
