// What a tensor of an ONNX graph is in terms of ours, while the graph is read.
//
// ONNX computes on padded rectangles [batch, sequence, width], our graph on packed rows. The reader follows each
// tensor symbolically: of which matrix of ours it holds the elements, and which axis runs over what. Reshape and
// Transpose then move axes about and compute nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/onnx/onnx_file.h"
#include "thimble/formats/rows/expressions.h"
#include "thimble/graph/graph.h"

namespace thimble {

// value * batch^batches * sequence^sequences: a number of shape arithmetic. Numbers beyond 2^53, which mean "to the
// end", lose their last digits.
struct OnnxNumber {
  double value = 0;
  int batches = 0, sequences = 0;

  bool IsPlain() const { return batches == 0 && sequences == 0; }
  bool operator==(const OnnxNumber&) const = default;
};
OnnxNumber operator*(const OnnxNumber& a, const OnnxNumber& b);

// A factor of an axis.
struct OnnxAtom {
  enum class Kind : uint8_t {
    kBatch,
    kSequence,
    kKeys,    // the sequence again, of scores of attention
    kWidth,   // `size` columns of the matrix, `stride` columns apart
    kRepeat,  // the same values again
  };
  Kind kind = Kind::kBatch;
  OnnxNumber size;
  int64_t stride = 0;
  bool operator==(const OnnxAtom&) const = default;
};
// One list for each axis, the outermost factor first. Factors of size 1 are left out.
using OnnxAxis = std::vector<OnnxAtom>;
using OnnxAxes = std::vector<OnnxAxis>;

OnnxNumber AxisSize(const OnnxAxis& axis);
// The axes' factors in order, columns that follow each other joined.
OnnxAxis Flattened(const OnnxAxes& axes);
// The same elements in another shape: dims as Reshape takes them, with -1 and 0. Nothing if our axes cannot be cut so.
std::optional<OnnxAxes> Reshaped(const OnnxAxes& axes, std::span<const OnnxNumber> dims,
                                 bool zero_copies);
// `axis`, counted from the end where it is negative, of `rank` axes.
std::optional<size_t> AxisIndex(int64_t axis, size_t rank);

// Constants of the graph. Matrices that are quantized carry what dequantizes them.
struct OnnxConstant {
  OnnxTensor tensor;
  bool transposed = false;     // of rank 2: rows and columns change places
  std::vector<float> scales;   // one, or one for each place along `axis`
  std::vector<int32_t> zeros;  // as many
  size_t axis = 0;             // of the tensor as it is stored

  Shape dims() const;
  bool quantized() const { return !scales.empty(); }
};

struct OnnxValue {
  enum class Kind : uint8_t {
    kMissing,
    kConstant,
    kNumbers,  // small constants and shapes: `dims`, `numbers`
    kMatrix,  // rows of our graph or a function of them: `expr`, rounded to codes of the scale `number` if not 0
    kIds,        // an input of ids: `id`
    kPositions,  // places of tokens in their sequence: `positions`
    // A function of the mask or of whether ids are `skip_id`: `if_zero` where it is 0 (the id is another), `if_one`
    // otherwise; of nothing where both are the same.
    kMask,
    kScores,         // of attention
    kProbabilities,  // the same after Softmax
    kIsNan,          // whether probabilities are none
    kMaskedMatrix,   // a matrix times the mask
    kMaskedSum,      // its sum over tokens
    kMaskSum,        // the sum of the mask
    kShifted,  // a matrix without its first (`index` 1) or last (-1) token; `padded` after zeros took its place
    kColumn,     // column `index` of a matrix
    kSoftmax,    // of a matrix
    kQuantized,  // codes of a matrix: `expr`, `number`: their scale, 0: by DynamicQuantizeLinear
    kScale,      // the scale of such codes, times `vector` if not empty
    kZeroPoint,
    kIntegerProduct,  // codes times `constant`
    kRows,            // rows of the table of codes or of scales `constant`, looked up by `id`
  };
  Kind kind = Kind::kMissing;
  OnnxAxes axes;
  std::shared_ptr<const OnnxConstant> constant;
  Shape dims;
  std::vector<OnnxNumber> numbers;
  ExprId expr = kNoExpr;
  ValueId id = kNoValue;
  PositionIdsAttrs positions;
  // kPositions of ids that skip some: whether skipped ones are at offset - 1 already.
  bool skipped_in_place = false;
  std::optional<int64_t> skip_id;  // kMask: the function is of ids; unset: of the mask
  double if_zero = 0, if_one = 1;
  // Attention: what is multiplied, and how.
  ExprId query = kNoExpr, key = kNoExpr;
  int64_t heads = 1;
  double scale = 1;
  int index = 0;
  bool padded = false;
  // Nothing else reads the linear that this is: a bias can become its own.
  bool is_sole = false;
  double number = 0;
  std::vector<float> vector;
};

// Elements of a constant as numbers, dequantized; nothing where there are more than `limit`.
std::optional<std::vector<double>> ConstantNumbers(const OnnxConstant& constant, size_t limit);
// The constant as numbers with their shape, if it is one and small.
std::optional<OnnxValue> AsNumbers(const OnnxValue& value);

// The number that all elements of constants or of a filled tensor are.
std::optional<double> SameNumber(const OnnxValue& value);

// The constant as a tensor of floats (float16 stays so) or of int8 codes with a scale per row, `transposed` once
// more if asked. Rank 1 and 2; others are viewed as `dims`. Codes that do not fit int8 with zero point 0 become floats.
Result<Tensor> ConstantTensor(const OnnxConstant& constant, bool transpose);

OnnxValue NumbersValue(Shape dims, std::vector<OnnxNumber> numbers);
OnnxValue NumberValue(double value);

}  // namespace thimble
