// A TensorFlow Lite file as checked parts: what this gives may be used without a second look at bounds.
//
// Checked are the FlatBuffer, every index, that constants have the bytes that their shapes name, and that
// operations stand in an order in which they can run: each tensor is a constant, an input of the model, or
// written once, before it is read. Only the first subgraph is looked at; operations that would leave it
// (IF, WHILE, CALL) are for the reader to refuse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/tflite/tflite_generated.h"
#include "thimble/graph/tensor.h"

namespace thimble {

struct TfliteTensor {
  std::string_view name;
  tfl::TensorType type = tfl::TensorType::FLOAT32;
  Shape shape;
  Shape signature;  // the shape, -1 where a dimension is free; empty: as the shape
  bool constant = false;
  std::span<const std::byte> data;  // of constants; as many bytes as type and shape say
  // Of quantized types: one, or one per index of `axis`.
  std::vector<float> scales;
  std::vector<int64_t> zero_points;
  size_t axis = 0;
};

struct TfliteOp {
  tfl::BuiltinOperator code = tfl::BuiltinOperator::ADD;
  std::string name;              // "FULLY_CONNECTED", "CUSTOM FlexErf"
  std::vector<int32_t> inputs;   // indices of tensors; -1: an optional one that is not there
  std::vector<int32_t> outputs;  // indices of tensors
  const tfl::Operator* table = nullptr;

  // The options, or null where the file has none or others.
  template <class T>
  const T* options() const {
    return table->builtin_options_as<T>();
  }
};

// Views the bytes, which must outlive it and begin at a multiple of 16.
struct TfliteFile {
  std::vector<TfliteTensor> tensors;
  std::vector<TfliteOp> ops;
  std::vector<int32_t> inputs, outputs;
  // The buffer that the metadata entry of that name stands for.
  std::optional<std::span<const std::byte>> FindMetadata(std::string_view name) const;

  const tfl::Model* model = nullptr;

  static Result<TfliteFile> Parse(std::span<const std::byte> bytes);
};

// Whether the bytes begin as a .tflite file does.
bool IsTflite(std::span<const std::byte> bytes);

}  // namespace thimble
