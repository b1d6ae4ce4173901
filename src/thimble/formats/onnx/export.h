// Writes a model as an ONNX file, for other runtimes and for comparing with them.
//
//   inputs   input_ids, attention_mask, token_type_ids (where the model has them): int64
//            [batch, sequence], both dimensions free. The mask does what Hugging Face's does: masked
//            keys get the most negative score.
//   outputs  those of the graph by name, float32: [batch, sequence, width] or [batch, width]
//
// Only operators of the standard, in the shapes that ONNX Runtime's optimizer recognises. What the
// weights are stored as decides the arithmetic:
//   f32      plain
//   f16      constants are stored as float16 and cast: half the file, float32 arithmetic
//   int8     DynamicQuantizeLinear and MatMulInteger with one scale per output channel: activations
//            are quantized per tensor, as ONNX can express it, so results differ from ours in rounding;
//            inputs with a calibrated scale by QuantizeLinear behind a Clip, which is what we compute,
//            followed by MatMulInteger or, as QDQ, by DequantizeLinear and MatMul
//
// Codes of int8 weights are written as they are, or as unsigned bytes with a zero point of 128. ONNX
// Runtime multiplies the first in pairs that saturate at 16 bits where a processor has AVX2 but no
// VNNI, which can ruin results; of the second it takes exact products everywhere, at a lower speed.
#pragma once

#include <cstdint>
#include <string>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"

namespace thimble {

enum class OnnxCodes : uint8_t { kSigned, kUnsigned };

// How products are written whose input has a calibrated scale: of integers, or of what QuantizeLinear and
// DequantizeLinear leave of floats, the form that other tools read (ONNX Runtime makes it a product of integers).
enum class OnnxStatic : uint8_t { kIntegers, kQdq };

struct OnnxOptions {
  int opset = 17;  // 13 to 17; before 17 a LayerNorm is written as its parts
  OnnxCodes codes = OnnxCodes::kSigned;
  OnnxStatic static_form = OnnxStatic::kIntegers;
};

// Replaces the file under `path` atomically.
Status ExportOnnx(const Model& model, const std::string& path, const OnnxOptions& options = {});

// The bytes of the same file.
Result<std::string> SerializeOnnx(const Model& model, const OnnxOptions& options = {});

}  // namespace thimble
