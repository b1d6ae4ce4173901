#include "thimble/formats/tflite/constant.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>

#include "thimble/base/half.h"

namespace thimble {
namespace {

template <class T>
std::vector<T> ReadAs(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

template <class To, class From>
std::vector<To> ConvertAll(const std::vector<From>& from) {
  std::vector<To> to;
  to.reserve(from.size());
  for (const From value : from) to.push_back(static_cast<To>(value));
  return to;
}

// Whole numbers as the file stores them; nothing for other types.
std::optional<std::vector<int64_t>> WholeNumbers(const TfliteTensor& t) {
  switch (t.type) {
    case tfl::TensorType::INT8:
      return ConvertAll<int64_t>(ReadAs<int8_t>(t.data));
    case tfl::TensorType::UINT8:
    case tfl::TensorType::BOOL:
      return ConvertAll<int64_t>(ReadAs<uint8_t>(t.data));
    case tfl::TensorType::INT16:
      return ConvertAll<int64_t>(ReadAs<int16_t>(t.data));
    case tfl::TensorType::UINT16:
      return ConvertAll<int64_t>(ReadAs<uint16_t>(t.data));
    case tfl::TensorType::INT32:
      return ConvertAll<int64_t>(ReadAs<int32_t>(t.data));
    case tfl::TensorType::UINT32:
      return ConvertAll<int64_t>(ReadAs<uint32_t>(t.data));
    case tfl::TensorType::INT64:
      return ReadAs<int64_t>(t.data);
    case tfl::TensorType::INT4: {
      std::vector<int64_t> values;
      for (const std::byte b : t.data) {
        const auto byte = static_cast<int>(b);
        values.push_back(((byte & 15) ^ 8) - 8);
        values.push_back((byte >> 4 ^ 8) - 8);
      }
      values.resize(ElementCount(t.shape).value_or(0));
      return values;
    }
    default:
      return std::nullopt;
  }
}

void Dequantize(const TfliteTensor& t, const std::vector<int64_t>& stored, TfliteConstant& to) {
  to.scales = t.scales;
  if (t.scales.size() > 1) {
    for (size_t d = t.axis + 1; d < t.shape.size(); ++d) {
      to.scale_stride *= static_cast<size_t>(t.shape[d]);
    }
  }
  const auto zero_point = [&](size_t i) {
    return t.zero_points[i / to.scale_stride % t.zero_points.size()];
  };
  const bool small = t.type != tfl::TensorType::INT32 && t.type != tfl::TensorType::INT64 &&
                     t.type != tfl::TensorType::INT16;
  bool fits = small;
  for (size_t i = 0; i < stored.size() && fits; ++i) {
    const double code = static_cast<double>(stored[i]) - static_cast<double>(zero_point(i));
    fits = code >= -127 && code <= 127;
  }
  if (fits) {
    to.codes.reserve(stored.size());
    for (size_t i = 0; i < stored.size(); ++i) {
      to.codes.push_back(static_cast<int8_t>(stored[i] - zero_point(i)));
    }
    return;
  }
  to.floats.reserve(stored.size());
  for (size_t i = 0; i < stored.size(); ++i) {
    to.floats.push_back(static_cast<float>(
        (static_cast<double>(stored[i]) - static_cast<double>(zero_point(i))) * to.ScaleOf(i)));
  }
  to.scales.clear();
}

}  // namespace

size_t TfliteConstant::size() const {
  return std::max({floats.size(), halves.size(), codes.size(), ints.size()});
}

double TfliteConstant::At(size_t i) const {
  if (!floats.empty()) return floats[i];
  if (!ints.empty()) return static_cast<double>(ints[i]);
  if (!halves.empty()) return HalfToFloat(halves[i]);
  return static_cast<double>(codes[i]) * ScaleOf(i);
}

Result<TfliteConstant> DecodeConstant(const TfliteTensor& t) {
  TfliteConstant to;
  to.shape = t.shape;
  if (const auto stored = WholeNumbers(t)) {
    if (t.scales.empty()) {
      to.ints = *stored;
    } else {
      Dequantize(t, *stored, to);
    }
    return to;
  }
  switch (t.type) {
    case tfl::TensorType::FLOAT32:
      to.floats = ReadAs<float>(t.data);
      return to;
    case tfl::TensorType::FLOAT64:
      to.floats = ConvertAll<float>(ReadAs<double>(t.data));
      return to;
    case tfl::TensorType::FLOAT16:
      to.halves = ReadAs<uint16_t>(t.data);
      return to;
    case tfl::TensorType::BFLOAT16:
      for (const uint16_t bits : ReadAs<uint16_t>(t.data)) {
        to.floats.push_back(BFloat16ToFloat(bits));
      }
      return to;
    default:
      return Unsupported("a constant is of type " + std::string(tfl::EnumNameTensorType(t.type)));
  }
}

Tensor MatrixOf(const TfliteConstant& c, const Extent& extent) {
  const Shape shape = ShapeOf(extent);
  std::vector<size_t> from;
  ForEachElement(extent,
                 [&](const Coordinates& at) { from.push_back(static_cast<size_t>(at[0])); });
  const auto width = static_cast<size_t>(shape[1]);
  const auto one_scale_per_row = [&] {
    for (size_t i = 0; i < from.size(); ++i) {
      if (c.ScaleOf(from[i]) != c.ScaleOf(from[i / width * width])) return false;
    }
    return true;
  };
  if (!c.halves.empty()) {
    std::vector<uint16_t> to;
    for (const size_t i : from) to.push_back(c.halves[i]);
    return Tensor::Copy(DType::kF16, shape, std::as_bytes(std::span(to)));
  }
  if (!c.codes.empty() && one_scale_per_row()) {
    std::vector<int8_t> to;
    auto scales = std::make_shared<std::vector<float>>();
    for (size_t i = 0; i < from.size(); ++i) {
      to.push_back(c.codes[from[i]]);
      if (i % width == 0) scales->push_back(c.ScaleOf(from[i]));
    }
    const std::span<const float> view(*scales);
    return Tensor::Copy(DType::kI8, shape, std::as_bytes(std::span(to)))
        .WithScales(view, std::move(scales));
  }
  std::vector<float> to;
  for (const size_t i : from) to.push_back(static_cast<float>(c.At(i)));
  return Tensor::FromFloats(shape, to);
}

std::optional<RowOp> RowOpOf(tfl::BuiltinOperator op) {
  using enum tfl::BuiltinOperator;
  static const std::map<tfl::BuiltinOperator, RowOp> kOps = {
      {ABS, RowOp::kAbs},
      {ADD, RowOp::kAdd},
      {CEIL, RowOp::kCeil},
      {CUSTOM, RowOp::kErf},
      {DIV, RowOp::kDiv},
      {ELU, RowOp::kElu},
      {EQUAL, RowOp::kEqual},
      {EXP, RowOp::kExp},
      {FLOOR, RowOp::kFloor},
      {FLOOR_DIV, RowOp::kFloorDiv},
      {FLOOR_MOD, RowOp::kFloorMod},
      {GELU, RowOp::kGelu},
      {GREATER, RowOp::kGreater},
      {GREATER_EQUAL, RowOp::kGreaterEqual},
      {HARD_SWISH, RowOp::kHardSwish},
      {LEAKY_RELU, RowOp::kLeakyRelu},
      {LESS, RowOp::kLess},
      {LESS_EQUAL, RowOp::kLessEqual},
      {LOG, RowOp::kLog},
      {LOGICAL_AND, RowOp::kLogicalAnd},
      {LOGICAL_NOT, RowOp::kLogicalNot},
      {LOGICAL_OR, RowOp::kLogicalOr},
      {LOGISTIC, RowOp::kSigmoid},
      {MAXIMUM, RowOp::kMax},
      {MINIMUM, RowOp::kMin},
      {MUL, RowOp::kMul},
      {NEG, RowOp::kNeg},
      {NOT_EQUAL, RowOp::kNotEqual},
      {POW, RowOp::kPow},
      {RELU, RowOp::kRelu},
      {RELU6, RowOp::kRelu6},
      {RELU_0_TO_1, RowOp::kRelu0To1},
      {RELU_N1_TO_1, RowOp::kReluN1To1},
      {ROUND, RowOp::kRound},
      {RSQRT, RowOp::kReciprocalSqrt},
      {SIGN, RowOp::kSign},
      {SQRT, RowOp::kSqrt},
      {SQUARE, RowOp::kSquare},
      {SQUARED_DIFFERENCE, RowOp::kSquaredDifference},
      {SUB, RowOp::kSub},
      {TANH, RowOp::kTanh}};
  const auto found = kOps.find(op);
  return found == kOps.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace thimble
