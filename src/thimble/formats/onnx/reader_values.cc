#include "thimble/formats/onnx/reader_values.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "thimble/base/half.h"
#include "thimble/formats/onnx/onnx_fields.h"

namespace thimble {
namespace {

namespace types = onnx_fields::tensor;

// Constants of more elements are weights or tables, nothing to compute shapes with.
constexpr size_t kMostNumbers = 1 << 14;

bool Divides(const OnnxNumber& part, const OnnxNumber& whole) {
  return part.value > 0 && std::fmod(whole.value, part.value) == 0 &&
         part.batches <= whole.batches && part.sequences <= whole.sequences;
}

OnnxNumber Quotient(const OnnxNumber& whole, const OnnxNumber& part) {
  return {whole.value / part.value, whole.batches - part.batches, whole.sequences - part.sequences};
}

constexpr OnnxNumber kOne{1, 0, 0};

template <class T>
T Load(std::span<const std::byte> data, size_t i) {
  T value;
  std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
  return value;
}

double LoadNumber(int type, std::span<const std::byte> data, size_t i) {
  switch (type) {
    case types::kFloat:
      return Load<float>(data, i);
    case types::kFloat16:
      return HalfToFloat(Load<uint16_t>(data, i));
    case types::kBFloat16:
      return BFloat16ToFloat(Load<uint16_t>(data, i));
    case types::kDouble:
      return Load<double>(data, i);
    case types::kUint8:
    case types::kBool:
      return Load<uint8_t>(data, i);
    case types::kInt8:
      return Load<int8_t>(data, i);
    case types::kUint16:
      return Load<uint16_t>(data, i);
    case types::kInt16:
      return Load<int16_t>(data, i);
    case types::kInt32:
      return Load<int32_t>(data, i);
    case types::kUint32:
      return Load<uint32_t>(data, i);
    case types::kUint64:
      return static_cast<double>(Load<uint64_t>(data, i));
    default:
      return static_cast<double>(Load<int64_t>(data, i));
  }
}

// Which scale an element has.
size_t ScaleIndex(const OnnxConstant& c, size_t element) {
  if (c.scales.size() <= 1) return 0;
  size_t inner = 1;
  for (size_t i = c.axis + 1; i < c.tensor.dims.size(); ++i) {
    inner *= static_cast<size_t>(c.tensor.dims[i]);
  }
  return element / inner % c.scales.size();
}

double ElementOf(const OnnxConstant& c, size_t i) {
  const double stored = LoadNumber(c.tensor.type, c.tensor.data, i);
  if (!c.quantized()) return stored;
  const size_t s = ScaleIndex(c, i);
  return (stored - c.zeros[s]) * c.scales[s];
}

// Where the element of the row and column asked for is stored.
class Places {
 public:
  Places(const OnnxConstant& c, bool transpose) {
    const Shape dims = c.dims();
    rows_ = dims.size() == 2 ? static_cast<size_t>(dims[0]) : 1;
    columns_ = static_cast<size_t>(dims.back());
    if (transpose) std::swap(rows_, columns_);
    crossed_ = dims.size() == 2 && c.transposed != transpose;
  }
  size_t rows() const { return rows_; }
  size_t columns() const { return columns_; }
  size_t operator()(size_t row, size_t column) const {
    return crossed_ ? column * rows_ + row : row * columns_ + column;
  }
  bool crossed() const { return crossed_; }

 private:
  size_t rows_ = 1, columns_ = 1;
  bool crossed_ = false;
};

// int8 codes with one scale for each row, if the constant is such.
std::optional<Tensor> AsCodes(const OnnxConstant& c, const Places& place) {
  const bool is_byte = c.tensor.type == types::kInt8 || c.tensor.type == types::kUint8;
  if (!c.quantized() || !is_byte || c.dims().size() != 2) return std::nullopt;
  // Scales go along the axis that our rows are.
  if (c.scales.size() > 1 && c.axis != (place.crossed() ? 1u : 0u)) return std::nullopt;
  std::vector<int8_t> codes(place.rows() * place.columns());
  std::vector<float> scales(place.rows());
  for (size_t row = 0; row < place.rows(); ++row) {
    const size_t s = c.scales.size() == 1 ? 0 : row;
    scales[row] = c.scales[s];
    for (size_t column = 0; column < place.columns(); ++column) {
      const double code = LoadNumber(c.tensor.type, c.tensor.data, place(row, column)) - c.zeros[s];
      if (code < -127 || code > 127) return std::nullopt;
      codes[row * place.columns() + column] = static_cast<int8_t>(code);
    }
  }
  const Tensor tensor = Tensor::Copy(
      DType::kI8, {static_cast<int64_t>(place.rows()), static_cast<int64_t>(place.columns())},
      std::as_bytes(std::span(codes)));
  auto kept = std::make_shared<std::vector<float>>(std::move(scales));
  return tensor.WithScales(*kept, kept);
}

}  // namespace

OnnxNumber operator*(const OnnxNumber& a, const OnnxNumber& b) {
  return {a.value * b.value, a.batches + b.batches, a.sequences + b.sequences};
}

OnnxNumber AxisSize(const OnnxAxis& axis) {
  OnnxNumber size = kOne;
  for (const OnnxAtom& atom : axis) size = size * atom.size;
  return size;
}

OnnxAxis Flattened(const OnnxAxes& axes) {
  OnnxAxis flat;
  for (const OnnxAxis& axis : axes) {
    for (const OnnxAtom& atom : axis) {
      OnnxAtom* last = flat.empty() ? nullptr : &flat.back();
      const bool follows =
          last != nullptr && last->kind == OnnxAtom::Kind::kWidth && atom.kind == last->kind &&
          static_cast<double>(last->stride) == static_cast<double>(atom.stride) * atom.size.value;
      if (follows) {
        last->size = last->size * atom.size;
        last->stride = atom.stride;
      } else {
        flat.push_back(atom);
      }
    }
  }
  return flat;
}

std::optional<size_t> AxisIndex(int64_t axis, size_t rank) {
  const auto count = static_cast<int64_t>(rank);
  if (axis < -count || axis >= count) return std::nullopt;
  return static_cast<size_t>(axis < 0 ? axis + count : axis);
}

std::optional<OnnxAxes> Reshaped(const OnnxAxes& axes, std::span<const OnnxNumber> dims,
                                 bool zero_copies) {
  if (dims.size() > 16) return std::nullopt;
  std::vector<OnnxNumber> sizes(dims.begin(), dims.end());
  const OnnxNumber total = AxisSize(Flattened(axes));
  OnnxNumber known = kOne;
  std::optional<size_t> open;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == OnnxNumber{0, 0, 0} && zero_copies) {
      if (i >= axes.size()) return std::nullopt;
      sizes[i] = AxisSize(axes[i]);
    }
    if (sizes[i] == OnnxNumber{-1, 0, 0}) {
      if (open) return std::nullopt;
      open = i;
    } else {
      known = known * sizes[i];
    }
  }
  if (open) {
    if (!Divides(known, total)) return std::nullopt;
    sizes[*open] = Quotient(total, known);
  } else if (!(known == total)) {
    return std::nullopt;
  }

  OnnxAxis rest = Flattened(axes);
  OnnxAxes result;
  for (const OnnxNumber& size : sizes) {
    OnnxAxis axis;
    OnnxNumber missing = size;
    while (!(missing == kOne)) {
      if (rest.empty()) return std::nullopt;
      OnnxAtom atom = rest.front();
      if (Divides(atom.size, missing)) {
        rest.erase(rest.begin());
      } else {
        // Only columns are cut in two.
        const bool cuts = atom.kind == OnnxAtom::Kind::kWidth && Divides(missing, atom.size);
        if (!cuts) return std::nullopt;
        const OnnxNumber inner = Quotient(atom.size, missing);
        rest.front().size = inner;
        atom.size = missing;
        atom.stride *= static_cast<int64_t>(inner.value);
      }
      missing = Quotient(missing, atom.size);
      axis.push_back(atom);
    }
    result.push_back(std::move(axis));
  }
  if (!rest.empty()) return std::nullopt;
  return result;
}

Shape OnnxConstant::dims() const {
  Shape dims = tensor.dims;
  if (transposed) std::swap(dims[0], dims[1]);
  return dims;
}

std::optional<std::vector<double>> ConstantNumbers(const OnnxConstant& constant, size_t limit) {
  const size_t count = constant.tensor.elements();
  if (count > limit || constant.transposed) return std::nullopt;
  std::vector<double> numbers(count);
  for (size_t i = 0; i < count; ++i) numbers[i] = ElementOf(constant, i);
  return numbers;
}

std::optional<OnnxValue> AsNumbers(const OnnxValue& value) {
  if (value.kind == OnnxValue::Kind::kNumbers) return value;
  if (value.kind != OnnxValue::Kind::kConstant) return std::nullopt;
  const auto elements = ConstantNumbers(*value.constant, kMostNumbers);
  if (!elements) return std::nullopt;
  std::vector<OnnxNumber> numbers;
  for (const double x : *elements) numbers.push_back({x, 0, 0});
  OnnxValue result = NumbersValue(value.constant->dims(), std::move(numbers));
  result.constant = value.constant;  // where weights are wanted the stored ones serve
  return result;
}

Result<Tensor> ConstantTensor(const OnnxConstant& constant, bool transpose) {
  Shape dims = constant.dims();
  if (dims.empty() || dims.size() > 2) {
    return Unsupported("has a constant of shape " + ShapeText(dims) + " for a weight");
  }
  if (transpose && dims.size() == 2) std::swap(dims[0], dims[1]);
  const Places place(constant, transpose);
  const int type = constant.tensor.type;
  if (std::optional<Tensor> codes = AsCodes(constant, place)) return *std::move(codes);
  const bool is_float = !constant.quantized() && (type == types::kFloat || type == types::kFloat16);
  if (is_float && !place.crossed()) {
    // A copy aligns.
    return Tensor::Copy(type == types::kFloat ? DType::kF32 : DType::kF16, dims,
                        constant.tensor.data);
  }
  const bool halves = is_float && type == types::kFloat16;
  std::vector<float> floats(halves ? 0 : place.rows() * place.columns());
  std::vector<uint16_t> half(halves ? place.rows() * place.columns() : 0);
  for (size_t row = 0; row < place.rows(); ++row) {
    for (size_t column = 0; column < place.columns(); ++column) {
      const size_t from = place(row, column), to = row * place.columns() + column;
      if (halves) {
        half[to] = Load<uint16_t>(constant.tensor.data, from);
      } else {
        floats[to] = static_cast<float>(ElementOf(constant, from));
      }
    }
  }
  if (halves) return Tensor::Copy(DType::kF16, dims, std::as_bytes(std::span(half)));
  return Tensor::FromFloats(dims, floats);
}

OnnxValue NumbersValue(Shape dims, std::vector<OnnxNumber> numbers) {
  OnnxValue value;
  value.kind = OnnxValue::Kind::kNumbers;
  value.dims = std::move(dims);
  value.numbers = std::move(numbers);
  return value;
}

OnnxValue NumberValue(double value) { return NumbersValue({}, {{value, 0, 0}}); }

std::optional<double> SameNumber(const OnnxValue& value) {
  if (value.kind == OnnxValue::Kind::kMask && value.if_zero == value.if_one) return value.if_one;
  const std::optional<OnnxValue> numbers = AsNumbers(value);
  if (!numbers || numbers->numbers.empty()) return std::nullopt;
  const OnnxNumber& first = numbers->numbers[0];
  const bool same =
      first.IsPlain() &&
      std::ranges::all_of(numbers->numbers, [&](const OnnxNumber& n) { return n == first; });
  return same ? std::optional(first.value) : std::nullopt;
}

}  // namespace thimble
