// Lookups, places of tokens, pooling, norms.
#include <algorithm>
#include <cmath>

#include "thimble/formats/onnx/graph_reader.h"
#include "thimble/formats/onnx/onnx_fields.h"

namespace thimble {

bool OnnxGraphReader::IsSequenceAxis(const OnnxAxis& axis) const {
  return axis.size() == 1 && axis[0].kind == OnnxAtom::Kind::kSequence;
}

// Numbers along the last axis that count the tokens, or are the same for each.
std::optional<OnnxValue> OnnxGraphReader::AsPositions(const Value& numbers) const {
  const std::vector<OnnxNumber>& all = numbers.numbers;
  if (numbers.dims.empty() || all.empty() ||
      numbers.dims.back() != static_cast<int64_t>(all.size())) {
    return std::nullopt;
  }
  bool counts = true, same = true;
  for (size_t i = 0; i < all.size(); ++i) {
    const OnnxNumber next{all[0].value + static_cast<double>(i), 0, 0};
    counts = counts && all[i] == next;
    same = same && all[i] == OnnxNumber{all[0].value, 0, 0};
  }
  if ((!counts && !same) || std::abs(all[0].value) > 1e9) return std::nullopt;
  Value value;
  value.axes.resize(numbers.dims.size());
  value.axes.back() = {{OnnxAtom::Kind::kSequence, sequence_}};
  if (same) {
    value.kind = Kind::kMask;
    value.if_zero = value.if_one = all[0].value;
  } else {
    value.kind = Kind::kPositions;
    value.positions.offset = static_cast<int64_t>(all[0].value);
  }
  return value;
}

Result<ValueId> OnnxGraphReader::PositionIds(const Value& positions) {
  const PositionIdsAttrs& attrs = positions.positions;
  if (attrs.skip_id >= 0 && !positions.skipped_in_place) {
    return Unsupported("counts tokens and leaves some out, which then have no place of their own");
  }
  const std::pair key(attrs.offset, attrs.skip_id);
  if (const auto found = position_ids_.find(key); found != position_ids_.end())
    return found->second;
  return position_ids_[key] = AddNode(OpKind::kPositionIds, "position_ids", {ids_}, {}, attrs);
}

Result<OnnxValue> OnnxGraphReader::EmitLookup(const std::string& name, const OnnxConstant& table,
                                              const Value& ids) {
  const Shape dims = table.dims();
  if (dims.size() != 2 || dims[0] < 1 || dims[1] < 1) {
    return Unsupported("looks up in a constant of shape " + ShapeText(dims));
  }
  ValueId id = ids.id;
  if (ids.kind == Kind::kPositions) {
    const int64_t places = dims[0] - ids.positions.offset;
    if (ids.positions.offset < 0 || places < 1)
      return InvalidData("looks up places that its table has not");
    longest_ = longest_ == 0 ? places : std::min(longest_, places);
    TRY(id, PositionIds(ids));
  } else if (ids.kind != Kind::kIds) {
    return Unsupported("looks up what are neither ids nor places");
  }
  Value rows;
  rows.axes = ids.axes;
  rows.axes.push_back(WidthAxis(dims[1]));
  namespace types = onnx_fields::tensor;
  const bool codes = table.tensor.type == types::kInt8 || table.tensor.type == types::kUint8;
  if (!table.quantized() && (codes || dims[1] == 1)) {
    rows.kind = Kind::kRows;
    rows.constant = std::make_shared<OnnxConstant>(table);
    rows.id = id;
    return rows;
  }
  TRY(Tensor tensor, SharedTensor(table, false));
  const std::string& stored = table.tensor.name;
  const std::string weight =
      stored.empty() || stored.find("::") != std::string::npos ? name + ".weight" : stored;
  rows.kind = Kind::kMatrix;
  rows.expr = NewBase(AddNode(OpKind::kEmbedding, name, {id}, {{weight, std::move(tensor)}}),
                      OpKind::kEmbedding);
  return rows;
}

// Constants at known places.
Result<OnnxValue> OnnxGraphReader::LookUpConstant(const OnnxConstant& table, size_t axis,
                                                  const Value& indices) {
  // One row of a table: token types that are left out, say.
  if (axis == 0 && indices.numbers.size() == 1 && table.dims().size() == 2 && !table.transposed &&
      !table.quantized() && indices.numbers[0].IsPlain()) {
    const double row = indices.numbers[0].value;
    if (!(row >= 0 && row < static_cast<double>(table.dims()[0])))
      return InvalidData("its place is out of range");
    const auto width = static_cast<size_t>(table.dims()[1]) * OnnxTypeBytes(table.tensor.type);
    Value value;
    value.kind = Kind::kConstant;
    OnnxConstant one{table.tensor};
    one.tensor.name.clear();
    one.tensor.data = table.tensor.data.subspan(static_cast<size_t>(row) * width, width);
    one.tensor.dims = indices.dims;
    one.tensor.dims.push_back(table.dims()[1]);
    value.constant = std::make_shared<OnnxConstant>(std::move(one));
    return value;
  }
  return Unsupported("takes parts of a constant of many elements");
}

Status OnnxGraphReader::ReadGather(const OnnxNode& node) {
  TRY(const Value data, In(node, 0));
  TRY(Value indices, In(node, 1));
  const auto found = node.attributes.find("axis");
  const int64_t named = found == node.attributes.end() ? 0 : found->second.integer;
  const bool constant = data.kind == Kind::kConstant || data.kind == Kind::kNumbers;
  const size_t rank = data.kind == Kind::kConstant  ? data.constant->dims().size()
                      : data.kind == Kind::kNumbers ? data.dims.size()
                                                    : data.axes.size();
  const std::optional<size_t> axis = AxisIndex(named, rank);
  if (!axis) return InvalidData("its axis is out of range");
  std::optional<Value> known = AsNumbers(indices);
  if (!known && indices.kind == Kind::kMask && indices.if_zero == indices.if_one) {
    known = NumbersValue(Shape(indices.axes.size(), 1), {{indices.if_one, 0, 0}});
  }
  Value result;
  if (constant && known) {
    const std::optional<Value> places = sequence_.IsPlain() ? AsPositions(*known) : std::nullopt;
    const bool counts = places && places->kind == Kind::kPositions && *axis == 0 && data.constant &&
                        static_cast<double>(known->numbers.size()) == sequence_.value;
    const std::optional<Value> small = AsNumbers(data);
    if (counts && data.constant->dims().size() == 2) {
      TRY(result, EmitLookup(NameOf(node), *data.constant, *places));
    } else if (small && rank == 1 && known->dims.size() <= 1) {
      result = NumbersValue(known->dims, {});
      for (const OnnxNumber& n : known->numbers) {
        const auto size = static_cast<double>(small->numbers.size());
        const double place = n.value < 0 ? n.value + size : n.value;
        if (!n.IsPlain() || !(place >= 0 && place < size))
          return InvalidData("its place is out of range");
        result.numbers.push_back(small->numbers[static_cast<size_t>(place)]);
      }
    } else if (data.constant) {
      TRY(result, LookUpConstant(*data.constant, *axis, *known));
    } else {
      return Unsupported("takes parts of a constant of many elements");
    }
  } else if (constant && data.constant && *axis == 0) {
    TRY(result, EmitLookup(NameOf(node), *data.constant, indices));
  } else if (data.kind == Kind::kMatrix && known && known->numbers.size() == 1 && WholeRows(data)) {
    const OnnxNumber place = known->numbers[0];
    OnnxAxes axes = data.axes;
    if (known->dims.empty()) {
      axes.erase(axes.begin() + static_cast<ptrdiff_t>(*axis));
    } else {
      axes[*axis].clear();
    }
    const auto width = static_cast<double>(BaseOf(data.expr).width);
    if (IsSequenceAxis(data.axes[*axis]) && place == OnnxNumber{}) {
      TRY(result, Pool(NameOf(node), data, PoolKind::kFirst, std::move(axes)));
    } else if (*axis + 1 == rank && place.IsPlain() && place.value >= 0 && place.value < width) {
      result = data;
      result.kind = Kind::kColumn;
      result.index = static_cast<int>(place.value);
      result.axes = std::move(axes);
      result.is_sole = false;
    } else {
      return Unsupported("takes another token than the first of a sequence");
    }
  } else {
    return Unsupported("looks up otherwise than rows of a constant, or the first token");
  }
  Set(node, std::move(result));
  return {};
}

Result<OnnxValue> OnnxGraphReader::Pool(const std::string& name, const Value& matrix, PoolKind kind,
                                        OnnxAxes axes) {
  TRY(const ExprId base, Emit(matrix.expr, name));
  return MatrixValue(
      NewBase(AddNode(OpKind::kPool, name, {BaseOf(base).id}, {}, PoolAttrs{kind}), OpKind::kPool),
      std::move(axes));
}

Status OnnxGraphReader::ReadCumSum(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  TRY(const double named, Number(node, 1));
  for (const char* flag : {"exclusive", "reverse"}) {
    const auto found = node.attributes.find(flag);
    if (found != node.attributes.end() && found->second.integer != 0) {
      return Unsupported("counts otherwise than up, the token itself included");
    }
  }
  const std::optional<size_t> axis =
      std::abs(named) < 16 ? AxisIndex(static_cast<int64_t>(named), x.axes.size()) : std::nullopt;
  if (x.kind != Kind::kMask || !axis) return Unsupported("sums up what are no tokens");
  Value places;
  places.kind = Kind::kPositions;
  places.axes = x.axes;
  places.positions.offset = 1;
  if (x.skip_id && x.if_one == 0 && x.if_zero == 1 && *x.skip_id >= 0) {
    places.positions.skip_id = *x.skip_id;
  } else if (x.if_one != 1 || x.if_zero != 1) {
    return Unsupported("counts otherwise than tokens, or those of other ids than one");
  }
  const bool along = IsSequenceAxis(x.axes[*axis]) ||
                     (x.axes[*axis].size() == 1 && x.axes[*axis][0].size == sequence_);
  if (!along) return Unsupported("counts along another axis than a sequence");
  places.axes[*axis] = {{OnnxAtom::Kind::kSequence, sequence_}};
  Set(node, std::move(places));
  return {};
}

Status OnnxGraphReader::ReadReduce(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  TRY(const std::vector<int64_t> axes, Integers(node, "axes", 1));
  const auto found = node.attributes.find("keepdims");
  const bool keeps = found == node.attributes.end() || found->second.integer != 0;
  const std::optional<size_t> axis =
      axes.size() == 1 ? AxisIndex(axes[0], x.axes.size()) : std::nullopt;
  if (!axis) return Unsupported("is read over one axis of the model's values only");
  OnnxAxes rest = x.axes;
  if (keeps) {
    rest[*axis].clear();
  } else {
    rest.erase(rest.begin() + static_cast<ptrdiff_t>(*axis));
  }
  const bool tokens = IsSequenceAxis(x.axes[*axis]);
  if (x.kind == Kind::kMatrix && WholeRows(x) && *axis + 1 == x.axes.size()) {
    const RowOp op = node.op == "ReduceMean"  ? RowOp::kMean
                     : node.op == "ReduceSum" ? RowOp::kSum
                                              : RowOp::kNorm;
    x.expr = pool_.Apply(op, x.expr);
  } else if (x.kind == Kind::kMatrix && WholeRows(x) && tokens && node.op == "ReduceMean") {
    TRY(Value pooled, Pool(NameOf(node), x, PoolKind::kMean, std::move(rest)));
    Set(node, std::move(pooled));
    return {};
  } else if (x.kind == Kind::kMaskedMatrix && tokens && node.op == "ReduceSum") {
    x.kind = Kind::kMaskedSum;
  } else if (x.kind == Kind::kMask && tokens && node.op == "ReduceSum" && !x.skip_id &&
             x.if_one == 1 && x.if_zero == 0) {
    x.kind = Kind::kMaskSum;
  } else {
    return Unsupported("sums up otherwise than rows, or tokens by the mask");
  }
  x.axes = std::move(rest);
  x.is_sole = false;
  x.number = 0;
  Set(node, std::move(x));
  return {};
}

Result<OnnxValue> OnnxGraphReader::EmitNorm(const OnnxNode& node, const Value& x, size_t gain,
                                            size_t bias) {
  if (x.kind != Kind::kMatrix || !WholeRows(x))
    return Unsupported("normalizes what are no rows of the model's values");
  TRY(const ValueId id, MatrixOf(node, x));
  const int64_t width = builder_.type(id).width;
  const std::string name = NameOf(node);
  TRY(Weight weight, ConstantVector(node, gain, width, ".weight"));
  Weight offset{name + ".bias",
                Tensor::FromFloats({width}, std::vector<float>(static_cast<size_t>(width), 0.0f))};
  if (Has(node, bias)) {
    TRY(offset, ConstantVector(node, bias, width, ".bias"));
  }
  const auto found = node.attributes.find("epsilon");
  constexpr double kDefault = 1e-5;
  const double stored = found == node.attributes.end() ? kDefault : found->second.real;
  const ValueId norm =
      AddNode(OpKind::kLayerNorm, name, {id}, {std::move(weight), std::move(offset)},
              LayerNormAttrs{SixDigits(stored)});
  return MatrixValue(NewBase(norm, OpKind::kLayerNorm), x.axes);
}

Status OnnxGraphReader::ReadLayerNormalization(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  const auto found = node.attributes.find("axis");
  const int64_t axis = found == node.attributes.end() ? -1 : found->second.integer;
  if (AxisIndex(axis, x.axes.size()) != x.axes.size() - 1)
    return Unsupported("normalizes more than rows");
  TRY(Value norm, EmitNorm(node, x, 1, 2));
  Set(node, std::move(norm));
  return {};
}

Result<OnnxValue> OnnxGraphReader::EmitActivation(const OnnxNode& node, const Value& x,
                                                  Activation function) {
  TRY(const ValueId id, MatrixOf(node, x));
  const ValueId y = AddNode(OpKind::kActivation, NameOf(node), {id}, {}, ActivationAttrs{function});
  return MatrixValue(NewBase(y, OpKind::kActivation), x.axes);
}

Status OnnxGraphReader::ReadGelu(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  const auto found = node.attributes.find("approximate");
  const bool tanh = found != node.attributes.end() && found->second.text == "tanh";
  TRY(Value y, EmitActivation(node, x, tanh ? Activation::kGeluTanh : Activation::kGelu));
  Set(node, std::move(y));
  return {};
}

Status OnnxGraphReader::ReadMish(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  TRY(Value y, EmitActivation(node, x, Activation::kMish));
  Set(node, std::move(y));
  return {};
}

}  // namespace thimble
