// Reads .thimble files (thimble.fbs describes them): the model's metadata becomes objects, its
// weights stay where they are and are used in place.
//
// What a reader may rely on: every tensor and every run of scales begins at a multiple of 64 bytes
// and is readable up to the next one, and kPanelGuardBytes more are readable behind every tensor.
//
// Loading touches no weight: its time depends on the number of nodes and tokenizer pieces only. The
// metadata's checksum is always compared; the weights' only where asked for, since that reads them
// all.
//
// Bytes may come from anywhere: whatever they are, the result is a model that passes Verify, or one
// line that says what is wrong.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "thimble/base/file.h"
#include "thimble/base/result.h"
#include "thimble/formats/model.h"

namespace thimble {

struct ReadOptions {
  bool verify_data = false;  // compare the checksums of the weights too
};

// Maps the file; the model's tensors keep the mapping alive.
Result<Model> ReadThimble(const std::string& path, const ReadOptions& options = {});

// The same from bytes that begin at a multiple of 64 and that `owner` keeps alive (null: the caller
// promises that they outlive the model, as flash memory does).
Result<Model> ParseThimble(std::span<const std::byte> file, std::shared_ptr<const void> owner,
                           const ReadOptions& options = {});

}  // namespace thimble
