// Operators that cut values and put them together.
#include <algorithm>
#include <cmath>

#include "thimble/formats/onnx/graph_reader.h"

namespace thimble {
namespace {

// More numbers than any shape arithmetic joins.
constexpr size_t kMostNumbersJoined = 1 << 14;

// Where a slice of `size` begins or ends, counted from its front.
OnnxNumber InsideOf(double place, double size) {
  if (place < 0) place += size;
  return {std::clamp(place, 0.0, size), 0, 0};
}

bool HoldsNumbers(const OnnxValue& value) {
  return value.kind == OnnxValue::Kind::kConstant || value.kind == OnnxValue::Kind::kNumbers;
}

}  // namespace

Status OnnxGraphReader::ReadConcat(const OnnxNode& node) {
  const auto found = node.attributes.find("axis");
  const int64_t axis = found == node.attributes.end() ? 1 : found->second.integer;
  std::vector<Value> parts;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    TRY(Value part, In(node, i));
    parts.push_back(std::move(part));
  }
  if (parts.empty()) return InvalidData("has no inputs");
  if (std::ranges::all_of(parts, HoldsNumbers)) {
    Value all = NumbersValue({0}, {});
    for (const Value& part : parts) {
      const std::optional<Value> numbers = AsNumbers(part);
      if (!numbers || numbers->dims.size() != 1)
        return Unsupported("joins constants of many elements");
      all.numbers.insert(all.numbers.end(), numbers->numbers.begin(), numbers->numbers.end());
      if (all.numbers.size() > kMostNumbersJoined)
        return Unsupported("joins constants of many elements");
    }
    all.dims[0] = static_cast<int64_t>(all.numbers.size());
    Set(node, std::move(all));
    return {};
  }
  // [next, this, previous], as MobileBERT embeds.
  const bool trigram = parts.size() == 3 && parts[0].kind == Kind::kShifted &&
                       parts[0].index == 1 && parts[0].padded && parts[1].kind == Kind::kMatrix &&
                       parts[2].kind == Kind::kShifted && parts[2].index == -1 && parts[2].padded &&
                       parts[0].expr == parts[1].expr && parts[1].expr == parts[2].expr &&
                       WholeRows(parts[1]) &&
                       AxisIndex(axis, parts[1].axes.size()) == parts[1].axes.size() - 1;
  if (!trigram) return Unsupported("joins values otherwise than each token's with its neighbours'");
  TRY(const ValueId id, MatrixOf(node, parts[1]));
  const ExprId joined = NewBase(AddNode(OpKind::kTrigram, NameOf(node), {id}), OpKind::kTrigram);
  OnnxAxes axes = parts[1].axes;
  axes.back() = WidthAxis(BaseOf(joined).width);
  Set(node, MatrixValue(joined, std::move(axes)));
  return {};
}

Result<OnnxValue> OnnxGraphReader::SliceNumbers(const Value& value, std::vector<OnnxNumber> starts,
                                                std::vector<OnnxNumber> ends,
                                                std::vector<int64_t> axes,
                                                std::vector<int64_t> steps) {
  const std::optional<Value> numbers = AsNumbers(value);
  if (!numbers) return Unsupported("cuts a constant of many elements");
  Value result = *numbers;
  for (size_t k = 0; k < axes.size(); ++k) {
    const std::optional<size_t> axis = AxisIndex(axes[k], result.dims.size());
    if (!axis) return InvalidData("its axes are out of range");
    if (!starts[k].IsPlain()) return Unsupported("begins where only a run knows");
    const auto size = static_cast<double>(result.dims[*axis]);
    // The first tokens of a table of places or of zeros.
    if (!ends[k].IsPlain()) {
      const std::optional<Value> places = AsPositions(result);
      if (axes.size() > 1 || !places || !(ends[k] == sequence_) || steps[k] != 1 ||
          *axis + 1 != result.dims.size()) {
        return Unsupported("ends where only a run knows");
      }
      Value cut = *places;
      cut.positions.offset +=
          static_cast<int64_t>(cut.kind == Kind::kPositions ? starts[k].value : 0);
      return cut;
    }
    const bool backwards = steps[k] == -1;
    if (steps[k] != 1 && !backwards) return Unsupported("skips elements");
    double first = InsideOf(starts[k].value, size).value,
           last = InsideOf(ends[k].value, size).value;
    if (backwards) {
      first = std::min(first, size - 1);
      last = ends[k].value < -size ? -1 : last;
    }
    std::vector<int64_t> places;
    for (double i = first; backwards ? i > last : i < last; i += backwards ? -1 : 1) {
      places.push_back(static_cast<int64_t>(i));
    }
    size_t inner = 1, outer = 1;
    for (size_t i = 0; i < result.dims.size(); ++i) {
      if (i < *axis) outer *= static_cast<size_t>(result.dims[i]);
      if (i > *axis) inner *= static_cast<size_t>(result.dims[i]);
    }
    std::vector<OnnxNumber> kept;
    for (size_t o = 0; o < outer; ++o) {
      for (const int64_t place : places) {
        const size_t begin = (o * static_cast<size_t>(size) + static_cast<size_t>(place)) * inner;
        for (size_t i = 0; i < inner; ++i) kept.push_back(result.numbers[begin + i]);
      }
    }
    result.numbers = std::move(kept);
    result.dims[*axis] = static_cast<int64_t>(places.size());
    result.constant = nullptr;
  }
  return result;
}

Status OnnxGraphReader::ReadSlice(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  std::vector<OnnxNumber> starts, ends;
  const auto bounds = [&](const char* attribute, size_t input) -> Result<std::vector<OnnxNumber>> {
    std::vector<OnnxNumber> numbers;
    if (const auto found = node.attributes.find(attribute); found != node.attributes.end()) {
      for (const int64_t i : found->second.integers)
        numbers.push_back({static_cast<double>(i), 0, 0});
      return numbers;
    }
    TRY(const Value value, In(node, input));
    const std::optional<Value> known = AsNumbers(value);
    if (!known) return Unsupported("its bounds are not known");
    return known->numbers;
  };
  TRY(starts, bounds("starts", 1));
  TRY(ends, bounds("ends", 2));
  TRY(std::vector<int64_t> axes, Integers(node, "axes", 3));
  TRY(std::vector<int64_t> steps, Integers(node, "", 4));
  if (axes.empty()) {
    for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (steps.empty()) steps.assign(starts.size(), 1);
  if (starts.size() != ends.size() || starts.size() != axes.size() || steps.size() != axes.size()) {
    return InvalidData("its bounds are of different lengths");
  }
  Value result = x;
  // The first rows of a table of places.
  const Shape dims = x.kind == Kind::kConstant ? x.constant->dims() : Shape{};
  const std::optional<size_t> only =
      axes.size() == 1 ? AxisIndex(axes[0], dims.size()) : std::nullopt;
  const bool first_rows =
      only && *only + 2 == dims.size() && steps[0] == 1 && starts[0].IsPlain() &&
      starts[0].value >= 0 && starts[0].value < 1e9 && !ends[0].IsPlain() && ends[0] == sequence_ &&
      !x.constant->transposed &&
      *ElementCount(dims) == static_cast<size_t>(dims[dims.size() - 2] * dims.back());
  if (first_rows) {
    OnnxConstant table = *x.constant;
    table.tensor.dims = {dims[dims.size() - 2], dims.back()};
    Value places;
    places.kind = Kind::kPositions;
    places.axes.resize(dims.size() - 1);
    places.axes.back() = {{OnnxAtom::Kind::kSequence, sequence_}};
    places.positions.offset = static_cast<int64_t>(starts[0].value);
    TRY(result, EmitLookup(NameOf(node), table, places));
  } else if (HoldsNumbers(x)) {
    TRY(result, SliceNumbers(x, starts, ends, axes, steps));
  } else {
    for (size_t k = 0; k < axes.size(); ++k) {
      const std::optional<size_t> axis = AxisIndex(axes[k], result.axes.size());
      if (!axis) return InvalidData("its axes are out of range");
      if (steps[k] != 1) return Unsupported("skips elements");
      TRY(result, SliceTokens(node, result, *axis, starts[k], ends[k]));
    }
  }
  result.is_sole = false;
  Set(node, std::move(result));
  return {};
}

// Of the model's values: all, the first token, all but the first or the last token, one column.
Result<OnnxValue> OnnxGraphReader::SliceTokens(const OnnxNode& node, const Value& value,
                                               size_t axis, const OnnxNumber& start,
                                               const OnnxNumber& end) {
  const OnnxNumber size = AxisSize(value.axes[axis]);
  const bool to_end =
      end == size ||
      (end.IsPlain() && (end.value >= 1e9 || (size.IsPlain() && end.value >= size.value)));
  const bool from_start = start == OnnxNumber{};
  if (from_start && to_end) return value;
  Value result = value;
  const bool is_matrix = value.kind == Kind::kMatrix;
  if (is_matrix && IsSequenceAxis(value.axes[axis]) && WholeRows(value)) {
    if (from_start && end == OnnxNumber{1, 0, 0}) {
      result.axes[axis].clear();
      return Pool(NameOf(node), value, PoolKind::kFirst, result.axes);
    }
    result.kind = Kind::kShifted;
    result.index = 0;
    if (start == OnnxNumber{1, 0, 0} && to_end) result.index = 1;
    if (from_start && end == OnnxNumber{-1, 0, 0}) result.index = -1;
    if (result.index != 0) return result;
  }
  if (is_matrix && axis + 1 == value.axes.size() && WholeRows(value) && start.IsPlain() &&
      end.IsPlain()) {
    const auto width = static_cast<double>(BaseOf(value.expr).width);
    const OnnxNumber first = InsideOf(start.value, width), last = InsideOf(end.value, width);
    if (last.value == first.value + 1) {
      result.kind = Kind::kColumn;
      result.index = static_cast<int>(first.value);
      result.axes[axis].clear();
      return result;
    }
  }
  return Unsupported(
      "cuts the model's values otherwise than by the first token, the last, or a column");
}

Status OnnxGraphReader::ReadSplit(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  const auto found = node.attributes.find("axis");
  const int64_t named = found == node.attributes.end() ? 0 : found->second.integer;
  const std::optional<size_t> axis = AxisIndex(named, x.axes.size());
  const bool columns = x.kind == Kind::kMatrix && axis && *axis + 1 == x.axes.size() &&
                       WholeRows(x) &&
                       BaseOf(x.expr).width == static_cast<int64_t>(node.outputs.size());
  if (!columns) return Unsupported("is read for start and end logits only");
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    Value column = x;
    column.kind = Kind::kColumn;
    column.index = static_cast<int>(i);
    column.axes[*axis].clear();
    column.is_sole = false;
    Set(node, std::move(column), i);
  }
  return {};
}

// Zeros in place of the token that a slice left out.
Status OnnxGraphReader::ReadPad(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  TRY(std::vector<int64_t> pads, Integers(node, "pads", 1));
  double fill = 0;
  if (const auto value = node.attributes.find("value"); value != node.attributes.end())
    fill = value->second.real;
  if (Has(node, 2)) {
    TRY(fill, Number(node, 2));
  }
  const auto mode = node.attributes.find("mode");
  const bool constant = mode == node.attributes.end() || mode->second.text == "constant";
  const size_t rank = x.axes.size();
  bool fits =
      x.kind == Kind::kShifted && !x.padded && fill == 0 && constant && pads.size() == 2 * rank;
  for (size_t i = 0; fits && i < pads.size(); ++i) {
    const bool tokens = IsSequenceAxis(x.axes[i % rank]);
    const bool behind = i >= rank;
    fits = pads[i] == (tokens && behind == (x.index == 1) ? 1 : 0);
  }
  if (!fits) return Unsupported("is read for tokens beside each other only");
  x.padded = true;
  Set(node, std::move(x));
  return {};
}

}  // namespace thimble
