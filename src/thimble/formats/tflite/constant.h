// Constants of a .tflite file in the few forms that matter here, and the operations on numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/rows/expressions.h"
#include "thimble/formats/tflite/tensor_view.h"
#include "thimble/formats/tflite/tflite_file.h"
#include "thimble/graph/tensor.h"

namespace thimble {

// One of the vectors is filled. Codes stand for scale * code, with one scale or one per index of a
// dimension; what is quantized otherwise (zero points, codes of -128, other types) becomes floats.
struct TfliteConstant {
  Shape shape;
  std::vector<float> floats;
  std::vector<uint16_t> halves;
  std::vector<int8_t> codes;
  std::vector<int64_t> ints;  // all types of whole numbers, and bool

  std::vector<float> scales;
  size_t scale_stride = 1;  // element i has scale (i / scale_stride) % scales.size()

  size_t size() const;
  double At(size_t i) const;
  float ScaleOf(size_t i) const { return scales[i / scale_stride % scales.size()]; }
};

Result<TfliteConstant> DecodeConstant(const TfliteTensor& tensor);

// The rows and columns that an extent of two dimensions covers, over `constant` row by row: f16 and codes
// stay what they are, where each row has one scale.
Tensor MatrixOf(const TfliteConstant& constant, const Extent& extent);

// The elementwise operation on numbers that `op` is, if it is one. CUSTOM stands for the error function.
std::optional<RowOp> RowOpOf(tfl::BuiltinOperator op);

}  // namespace thimble
