// Reads .thimble files (thimble.fbs describes them): the model's metadata becomes objects, its
// weights stay where they are and are used in place.
//
// What a reader may rely on: every tensor and every run of scales begins at a multiple of 64 bytes
// and is readable up to the next one, and kPanelGuardBytes more are readable behind every tensor.
//
// Loading touches no weight, but the lists of block-sparse ones, which it checks: its time depends on the
// number of nodes, tokenizer pieces and blocks only. The
// metadata's checksum is always compared; the weights' only where asked for, since that reads them
// all.
//
// An adapter is a file that holds only what its model has and another one, its base, has not (writer.h). It becomes
// an ordinary model that shares the base's weights in memory, so that one base serves any number of adapters.
//
// Model::identity is the SHA-256, in hexadecimal, of the checksums of the file: that of its metadata, then those of
// its tensors. It costs nothing to compute, and tells files apart by all that they hold; it guards against mistakes,
// not against forgery.
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
Result<Model> ParseThimble(std::span<const std::byte> file,
                           const std::shared_ptr<const void>& owner,
                           const ReadOptions& options = {});

// The same for adapters. kInvalidData: the file is no adapter, or one of another base. The model keeps alive what
// it shares with `base`, which itself need not live.
Result<Model> ReadAdapter(const std::string& path, const Model& base,
                          const ReadOptions& options = {});
Result<Model> ParseAdapter(std::span<const std::byte> file,
                           const std::shared_ptr<const void>& owner, const Model& base,
                           const ReadOptions& options = {});

}  // namespace thimble
