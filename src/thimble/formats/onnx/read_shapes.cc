// Operators that make and use shapes, and those that only move elements about.
#include <algorithm>
#include <cmath>

#include "thimble/formats/onnx/graph_reader.h"
#include "thimble/formats/onnx/onnx_fields.h"

namespace thimble {
namespace {

// More numbers than any shape arithmetic has.
constexpr size_t kMostNumbersMade = 1 << 14;

std::optional<size_t> PlainCount(std::span<const OnnxNumber> dims) {
  double count = 1;
  for (const OnnxNumber& dim : dims) {
    if (!dim.IsPlain() || !(dim.value >= 0)) return std::nullopt;
    count *= dim.value;
  }
  if (count > static_cast<double>(kMostNumbersMade)) return std::nullopt;
  return static_cast<size_t>(count);
}

Shape PlainShape(std::span<const OnnxNumber> dims) {
  Shape shape;
  for (const OnnxNumber& dim : dims) shape.push_back(static_cast<int64_t>(dim.value));
  return shape;
}

// Axes of what is filled with one number, in the shape that is asked for.
OnnxAxes FilledAxes(std::span<const OnnxNumber> dims) {
  OnnxAxes axes;
  for (const OnnxNumber& dim : dims) {
    axes.emplace_back();
    if (!(dim == OnnxNumber{1, 0, 0})) axes.back().push_back({OnnxAtom::Kind::kRepeat, dim});
  }
  return axes;
}

bool IsShapeless(const OnnxValue& value) {
  return value.kind == OnnxValue::Kind::kConstant || value.kind == OnnxValue::Kind::kNumbers;
}

}  // namespace

Status OnnxGraphReader::ReadConstant(const OnnxNode& node) {
  for (const auto& [name, attribute] : node.attributes) {
    Value value;
    if (attribute.tensor) {
      value.kind = Kind::kConstant;
      value.constant = std::make_shared<OnnxConstant>(OnnxConstant{*attribute.tensor});
    } else if (name == "value_int") {
      value = NumberValue(static_cast<double>(attribute.integer));
    } else if (name == "value_float") {
      value = NumberValue(attribute.real);
    } else if (name == "value_ints") {
      value = NumbersValue({static_cast<int64_t>(attribute.integers.size())}, {});
      for (const int64_t x : attribute.integers) {
        value.numbers.push_back({static_cast<double>(x), 0, 0});
      }
    } else if (name == "value_floats") {
      value = NumbersValue({static_cast<int64_t>(attribute.reals.size())}, {});
      for (const float x : attribute.reals) value.numbers.push_back({x, 0, 0});
    } else {
      continue;
    }
    Set(node, std::move(value));
    return {};
  }
  return Unsupported("holds no number");
}

Status OnnxGraphReader::ReadConstantOfShape(const OnnxNode& node) {
  TRY(const Value shape, In(node, 0));
  const std::optional<Value> dims = AsNumbers(shape);
  if (!dims || dims->numbers.size() > 16) return Unsupported("its shape is not known");
  double fill = 0;
  if (const auto value = node.attributes.find("value");
      value != node.attributes.end() && value->second.tensor) {
    const auto numbers = ConstantNumbers({*value->second.tensor}, 1);
    if (!numbers || numbers->empty()) return InvalidData("its value is no number");
    fill = (*numbers)[0];
  }
  if (const std::optional<size_t> count = PlainCount(dims->numbers)) {
    Set(node,
        NumbersValue(PlainShape(dims->numbers), std::vector<OnnxNumber>(*count, {fill, 0, 0})));
    return {};
  }
  Value filled;
  filled.kind = Kind::kMask;
  filled.axes = FilledAxes(dims->numbers);
  filled.if_zero = filled.if_one = fill;
  Set(node, std::move(filled));
  return {};
}

Status OnnxGraphReader::ReadShape(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  std::vector<OnnxNumber> sizes;
  if (IsShapeless(x)) {
    for (const int64_t dim : x.kind == Kind::kConstant ? x.constant->dims() : x.dims) {
      sizes.push_back({static_cast<double>(dim), 0, 0});
    }
  } else {
    for (const OnnxAxis& axis : x.axes) sizes.push_back(AxisSize(axis));
  }
  const auto bound = [&](const char* name, int64_t fallback) {
    const auto found = node.attributes.find(name);
    const int64_t place = found == node.attributes.end() ? fallback : found->second.integer;
    const auto rank = static_cast<int64_t>(sizes.size());
    return std::clamp<int64_t>(place < 0 ? place + rank : place, 0, rank);
  };
  const int64_t begin = bound("start", 0), end = bound("end", static_cast<int64_t>(sizes.size()));
  std::vector<OnnxNumber> part;
  for (int64_t i = begin; i < end; ++i) part.push_back(sizes[static_cast<size_t>(i)]);
  const auto count = static_cast<int64_t>(part.size());
  Set(node, NumbersValue({count}, std::move(part)));
  return {};
}

Status OnnxGraphReader::ReadSize(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  if (IsShapeless(x)) return Unsupported("is read for the model's values only");
  Set(node, NumbersValue({}, {AxisSize(Flattened(x.axes))}));
  return {};
}

Status OnnxGraphReader::ReadRange(const OnnxNode& node) {
  TRY(const double start, Number(node, 0));
  TRY(const double step, Number(node, 2));
  TRY(const Value limit, In(node, 1));
  const std::optional<Value> end = AsNumbers(limit);
  if (!end || end->numbers.size() != 1) return Unsupported("its end is not known");
  const OnnxNumber& last = end->numbers[0];
  if (last == sequence_ && !sequence_.IsPlain() && start == 0 && step == 1) {
    Value places;
    places.kind = Kind::kPositions;
    places.axes = {{{OnnxAtom::Kind::kSequence, sequence_}}};
    Set(node, std::move(places));
    return {};
  }
  const double count = step == 0 ? -1 : std::ceil((last.value - start) / step);
  if (!last.IsPlain() || !(count >= 0 && count <= static_cast<double>(kMostNumbersMade))) {
    return Unsupported("counts otherwise than over the tokens of a sequence");
  }
  std::vector<OnnxNumber> numbers;
  for (int i = 0; i < static_cast<int>(count); ++i) numbers.push_back({start + i * step, 0, 0});
  const auto size = static_cast<int64_t>(numbers.size());
  Set(node, NumbersValue({size}, std::move(numbers)));
  return {};
}

Status OnnxGraphReader::ReadReshape(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  std::vector<OnnxNumber> dims;
  if (const auto shape = node.attributes.find("shape"); shape != node.attributes.end()) {
    for (const int64_t d : shape->second.integers) dims.push_back({static_cast<double>(d), 0, 0});
  } else {
    TRY(const Value shape_value, In(node, 1));
    const std::optional<Value> numbers = AsNumbers(shape_value);
    if (!numbers) return Unsupported("its shape is not known");
    dims = numbers->numbers;
  }
  const auto allow = node.attributes.find("allowzero");
  const bool zero_copies = allow == node.attributes.end() || allow->second.integer == 0;
  if (IsShapeless(x)) {
    const std::optional<Value> numbers = AsNumbers(x);
    if (!numbers) return Unsupported("reshapes a constant of many elements");
    Shape shape;
    std::optional<size_t> open;
    double known = 1;
    for (size_t i = 0; i < dims.size(); ++i) {
      double size = dims[i].value;
      if (size == 0 && zero_copies && i < numbers->dims.size())
        size = static_cast<double>(numbers->dims[i]);
      if (!dims[i].IsPlain() || size < -1 || size > 1e9)
        return Unsupported("its shape is not known");
      if (size == -1) open = i;
      if (size != -1) known *= size;
      shape.push_back(static_cast<int64_t>(size));
    }
    const auto count = static_cast<double>(numbers->numbers.size());
    if (open) shape[*open] = known > 0 ? static_cast<int64_t>(count / known) : 0;
    if (ElementCount(shape) != numbers->numbers.size())
      return InvalidData("its shape does not fit");
    Set(node, NumbersValue(std::move(shape), numbers->numbers));
    return {};
  }
  std::optional<OnnxAxes> axes = Reshaped(x.axes, dims, zero_copies);
  if (!axes)
    return Unsupported("cuts the model's values otherwise than by sequences, tokens and columns");
  x.axes = *std::move(axes);
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadFlatten(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  const auto found = node.attributes.find("axis");
  const int64_t axis = found == node.attributes.end() ? 1 : found->second.integer;
  if (IsShapeless(x)) return Unsupported("is read for the model's values only");
  const auto rank = static_cast<int64_t>(x.axes.size());
  if (axis < -rank || axis > rank) return InvalidData("its axis is out of range");
  const auto middle = x.axes.begin() + (axis < 0 ? axis + rank : axis);
  x.axes = {Flattened({x.axes.begin(), middle}), Flattened({middle, x.axes.end()})};
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadTranspose(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  const size_t rank = x.kind == Kind::kConstant ? x.constant->dims().size()
                      : IsShapeless(x)          ? x.dims.size()
                                                : x.axes.size();
  std::vector<size_t> order;
  if (const auto perm = node.attributes.find("perm"); perm != node.attributes.end()) {
    for (const int64_t p : perm->second.integers) {
      if (p < 0 || p >= static_cast<int64_t>(rank)) return InvalidData("its order is out of range");
      order.push_back(static_cast<size_t>(p));
    }
  } else {
    for (size_t i = rank; i-- > 0;) order.push_back(i);
  }
  std::vector<size_t> sorted = order;
  std::ranges::sort(sorted);
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (sorted[i] != i || sorted.size() != rank)
      return InvalidData("its order is no order of the axes");
  }
  if (IsShapeless(x)) {
    if (std::ranges::is_sorted(order)) {
      Set(node, std::move(x));
      return {};
    }
    if (rank == 2 && x.kind == Kind::kConstant) {
      OnnxConstant crossed = *x.constant;
      crossed.transposed = !crossed.transposed;
      x.constant = std::make_shared<OnnxConstant>(std::move(crossed));
      Set(node, std::move(x));
      return {};
    }
    if (rank != 2)
      return Unsupported("turns a constant of " + std::to_string(rank) + " dimensions");
    Value turned = NumbersValue({x.dims[1], x.dims[0]}, {});
    for (int64_t c = 0; c < x.dims[1]; ++c) {
      for (int64_t r = 0; r < x.dims[0]; ++r) {
        turned.numbers.push_back(x.numbers[static_cast<size_t>(r * x.dims[1] + c)]);
      }
    }
    Set(node, std::move(turned));
    return {};
  }
  OnnxAxes axes;
  for (const size_t i : order) axes.push_back(x.axes[i]);
  x.axes = std::move(axes);
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadSqueeze(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  TRY(const std::vector<int64_t> named, Integers(node, "axes", 1));
  const auto drop = [&](auto& axes, const auto& is_one) -> Status {
    std::vector<bool> gone(axes.size(), false);
    for (const int64_t axis : named) {
      const std::optional<size_t> i = AxisIndex(axis, axes.size());
      if (!i || !is_one(axes[*i])) return InvalidData("removes an axis that is not of size 1");
      gone[*i] = true;
    }
    std::remove_reference_t<decltype(axes)> kept;
    for (size_t i = 0; i < axes.size(); ++i) {
      if (!gone[i] && !(named.empty() && is_one(axes[i]))) kept.push_back(axes[i]);
    }
    axes = std::move(kept);
    return {};
  };
  if (IsShapeless(x)) {
    std::optional<Value> numbers = AsNumbers(x);
    if (!numbers) return Unsupported("reshapes a constant of many elements");
    TRY_VOID(drop(numbers->dims, [](int64_t d) { return d == 1; }));
    Set(node, *std::move(numbers));
    return {};
  }
  TRY_VOID(drop(x.axes, [](const OnnxAxis& axis) { return axis.empty(); }));
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadUnsqueeze(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  TRY(const std::vector<int64_t> named, Integers(node, "axes", 1));
  const auto insert = [&](auto& axes, auto one) -> Status {
    const size_t rank = axes.size() + named.size();
    if (rank > 16) return InvalidData("gives more axes than any tensor has");
    std::vector<bool> is_new(rank, false);
    for (const int64_t axis : named) {
      const std::optional<size_t> i = AxisIndex(axis, rank);
      if (!i || is_new[*i]) return InvalidData("its axes are out of range");
      is_new[*i] = true;
    }
    std::remove_reference_t<decltype(axes)> result;
    for (size_t i = 0, from = 0; i < rank; ++i) result.push_back(is_new[i] ? one : axes[from++]);
    axes = std::move(result);
    return {};
  };
  if (IsShapeless(x)) {
    std::optional<Value> numbers = AsNumbers(x);
    if (!numbers) return Unsupported("reshapes a constant of many elements");
    TRY_VOID(insert(numbers->dims, int64_t{1}));
    Set(node, *std::move(numbers));
    return {};
  }
  TRY_VOID(insert(x.axes, OnnxAxis()));
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadExpand(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  TRY(const Value shape, In(node, 1));
  const std::optional<Value> dims = AsNumbers(shape);
  if (!dims || dims->numbers.size() > 16) return Unsupported("its shape is not known");
  if (IsShapeless(x)) {
    const std::optional<Value> numbers = AsNumbers(x);
    if (numbers && numbers->numbers.size() == 1) {
      const OnnxNumber number = numbers->numbers[0];
      if (const std::optional<size_t> count = PlainCount(dims->numbers)) {
        Set(node, NumbersValue(PlainShape(dims->numbers), std::vector<OnnxNumber>(*count, number)));
        return {};
      }
      if (!number.IsPlain()) return Unsupported("repeats a size that is known only when it runs");
      x = Value();
      x.kind = Kind::kMask;
      x.if_zero = x.if_one = number.value;
    } else if (numbers && numbers->dims.size() <= dims->numbers.size() &&
               std::ranges::equal(numbers->dims, dims->numbers,
                                  [](int64_t have, const OnnxNumber& want) {
                                    return want == OnnxNumber{static_cast<double>(have), 0, 0};
                                  })) {
      Set(node, *numbers);
      return {};
    } else {
      return Unsupported("repeats a constant of many elements");
    }
  }
  const std::optional<OnnxAxes> axes = Broadcast(x.axes, FilledAxes(dims->numbers));
  if (!axes) return Unsupported("repeats values in a shape that does not fit");
  x.axes = *axes;
  x.is_sole = false;
  // A number of each row, once for each column: it is used as one anyway.
  if (x.kind == Kind::kMatrix && !x.axes.empty() && x.axes.back().size() == 1 &&
      x.axes.back()[0].kind == OnnxAtom::Kind::kRepeat) {
    x.axes.back().clear();
  }
  // Repeated rows are no rows of ours, but what tells of the place or of the mask alone goes on.
  const bool repeats = std::ranges::any_of(
      Flattened(x.axes), [](const OnnxAtom& atom) { return atom.kind == OnnxAtom::Kind::kRepeat; });
  if (repeats && x.kind != Kind::kMask && x.kind != Kind::kPositions) {
    return Unsupported("repeats the model's values");
  }
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadSame(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  Set(node, std::move(x));
  return {};
}

// Values stay what they are: whole numbers and halves are computed as float32 here.
Status OnnxGraphReader::ReadCast(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  namespace types = onnx_fields::tensor;
  const auto found = node.attributes.find("to");
  const int64_t to = found == node.attributes.end() ? 0 : found->second.integer;
  const bool is_float = to == types::kFloat || to == types::kFloat16 || to == types::kDouble ||
                        to == types::kBFloat16;
  const auto cast = [&](double value) {
    if (to == types::kBool) return value != 0 ? 1.0 : 0.0;
    return is_float ? value : std::trunc(value);
  };
  if (x.kind == Kind::kMask) {
    x.if_zero = cast(x.if_zero);
    x.if_one = cast(x.if_one);
  } else if (x.kind == Kind::kNumbers && !is_float) {
    for (OnnxNumber& n : x.numbers) {
      if (n.IsPlain()) n.value = cast(n.value);
    }
  } else if (x.kind == Kind::kConstant && !is_float) {
    std::optional<Value> numbers = AsNumbers(x);
    if (!numbers) return Unsupported("casts a constant of many elements");
    for (OnnxNumber& n : numbers->numbers) n.value = cast(n.value);
    numbers->constant = nullptr;
    x = *std::move(numbers);
  } else if (x.kind == Kind::kMatrix && !is_float) {
    return Unsupported("rounds the model's values");
  }
  Set(node, std::move(x));
  return {};
}

}  // namespace thimble
