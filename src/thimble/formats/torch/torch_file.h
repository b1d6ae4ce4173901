// PyTorch checkpoints: the state dictionary that torch.save wrote, in a zip archive (since 1.6) or as a
// row of pickles and raw storages (before). Read as data: nothing in the file is run.
//
// Whole pickled models, sparse and quantized tensors, TorchScript and files of big-endian machines are
// refused by name. Values that are not tensors are passed over.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "thimble/base/result.h"
#include "thimble/formats/tensors/stored_tensor.h"

namespace thimble {

// Maps the file; the tensors keep the mapping alive. Errors name the path.
Result<StoredTensors> OpenTorch(const std::string& path);

// The same for bytes in memory that `owner` keeps alive.
Result<StoredTensors> ParseTorch(std::span<const std::byte> file,
                                 std::shared_ptr<const void> owner);

}  // namespace thimble
