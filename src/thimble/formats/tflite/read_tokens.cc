// What is one number for each token: masks, from the input or from ids, and counted positions.
#include <algorithm>
#include <cmath>
#include <utility>

#include "thimble/formats/tflite/graph_reader.h"

namespace thimble {

// --- Masks

TfliteGraphReader::View TfliteGraphReader::NewMask(View like, MaskValues values) {
  like.kind = BaseKind::kMask;
  like.id = static_cast<int>(masks_.size());
  masks_.push_back(values);
  return like;
}

// A mask and a number, a mask and a mask, ids and the number of a padding token.
Result<TfliteGraphReader::View> TfliteGraphReader::MaskBinary(RowOp op, const View& a,
                                                              const View& b) {
  const auto is_mask = [](const View& v) {
    return v.kind == BaseKind::kMask || v.kind == BaseKind::kIds;
  };
  const View& mask = is_mask(a) ? a : b;
  MaskValues values;
  View result = mask;
  if (is_mask(a) && is_mask(b)) {
    if (op == RowOp::kSub && a.kind == BaseKind::kIds && b.kind == BaseKind::kIds && a.id == b.id &&
        a.extent == b.extent) {
      TRY(const View zero, FromValues({}, {0}, true));
      return Broadcast(zero, ShapeOf(a.extent));
    }
    if (a.kind == BaseKind::kIds || b.kind == BaseKind::kIds) return NotOfOurs("computes with ids");
    const auto dims = CommonDims(a.extent, b.extent);
    const MaskValues x = MaskOf(a), y = MaskOf(b);
    // The mask of a pair of tokens: what counts is the key's.
    const bool both = (op == RowOp::kMul || op == RowOp::kLogicalAnd || op == RowOp::kMin) &&
                      x.IsPlain() && y.IsPlain();
    if (!dims || (!both && AllAtoms(a.extent) != AllAtoms(b.extent))) {
      return NotOfOurs("joins masks");
    }
    values = {Compute(op, x.present, y.present), Compute(op, x.absent, y.absent),
              x.skip_id == y.skip_id ? x.skip_id : -1};
    result.extent.dims = *dims;
  } else {
    const View& constant = is_mask(a) ? b : a;
    const std::optional<double> number = Uniform(constant);
    if (!number) return NotOfOurs("changes a mask or ids by more than one number");
    const auto value = [&](double x) {
      return is_mask(a) ? Compute(op, x, *number) : Compute(op, *number, x);
    };
    if (mask.kind == BaseKind::kIds && roles_[static_cast<size_t>(mask.id)] != kInputIds) {
      return NotOfOurs("computes with token types");
    }
    if (mask.kind == BaseKind::kIds) {
      // Padding is the token compared with, or 0 where ids are compared by size.
      const bool equality = op == RowOp::kEqual || op == RowOp::kNotEqual;
      const double padding = equality ? *number : 0;
      if (!(padding >= 0 && padding <= INT32_MAX))
        return NotOfOurs("compares ids with what is none");
      values = {value(padding + 1), value(padding), static_cast<int64_t>(padding)};
      if ((!equality && value(1e6) != value(1)) || op == RowOp::kAdd || op == RowOp::kSub ||
          op == RowOp::kMul || op == RowOp::kDiv) {
        return NotOfOurs("computes with ids");
      }
    } else {
      const MaskValues& from = MaskOf(mask);
      values = {value(from.present), value(from.absent), from.skip_id};
    }
    const auto shape = BroadcastShape(ShapeOf(a.extent), ShapeOf(b.extent));
    if (!shape) return InvalidData("its inputs differ in shape");
    TRY(result, Broadcast(result, *shape));
  }
  return NewMask(std::move(result), values);
}

// --- Positions

Result<TfliteGraphReader::View> TfliteGraphReader::FoldCumsum(const View& x, size_t axis,
                                                              bool exclusive, bool reverse) {
  TRY(std::vector<double> values, ConstantValues(x));
  const Shape shape = ShapeOf(x.extent);
  const auto size = static_cast<size_t>(shape[axis]);
  size_t stride = 1;
  for (size_t i = axis + 1; i < shape.size(); ++i) stride *= static_cast<size_t>(shape[i]);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t at = i / stride % size;
    if (at != 0) continue;  // each sum from its first element
    double sum = 0;
    for (size_t k = 0; k < size; ++k) {
      double& value = values[i + (reverse ? size - 1 - k : k) * stride];
      const double before = std::exchange(sum, sum + value);
      value = exclusive ? before : sum;
    }
  }
  return FromValues(shape, values, IsWholeNumbers(x));
}

// A running sum of constants, or of a plain mask: the places of its tokens, from 1 on.
Result<TfliteGraphReader::View> TfliteGraphReader::ReadCumsum(const TfliteOp& op) {
  TRY(View x, In(op, 0));
  TRY(const std::vector<int64_t> axis, Numbers(op, 1));
  if (axis.size() != 1) return InvalidData("it has no axis");
  TRY(const size_t dim, Axis(axis[0], x.extent.dims.size()));
  const auto* options = op.options<tfl::CumsumOptions>();
  const bool exclusive = options != nullptr && options->exclusive();
  const bool reverse = options != nullptr && options->reverse();
  if (x.kind == BaseKind::kConstant) return FoldCumsum(x, dim, exclusive, reverse);
  const bool tokens = x.kind == BaseKind::kMask && MaskOf(x).IsPlain() &&
                      IsTokens(AllAtoms(x.extent)) && IsTokens(Merged(x.extent.dims[dim])) &&
                      x.extent.offset == Coordinates{};
  if (!tokens) return NotOfOurs("sums up what is no mask of the tokens");
  if (exclusive || reverse) return NotOfOurs("counts otherwise than up, the token itself included");
  const int64_t skip_id = MaskOf(x).skip_id;
  x.kind = BaseKind::kPositions;
  x.id = static_cast<int>(positions_.size());
  positions_.push_back({.attrs = {.offset = 1, .skip_id = skip_id}, .skips = skip_id < 0});
  return x;
}

// Positions and a number are positions; the count times its mask leaves 0 where a token is skipped.
Result<TfliteGraphReader::View> TfliteGraphReader::PositionsBinary(RowOp op, const View& a,
                                                                   const View& b) {
  const bool first = a.kind == BaseKind::kPositions;
  View result = first ? a : b;
  const View& other = first ? b : a;
  Positions positions = positions_[static_cast<size_t>(result.id)];
  PositionIdsAttrs& attrs = positions.attrs;
  const std::optional<double> number = Uniform(other);
  const auto shape = BroadcastShape(ShapeOf(a.extent), ShapeOf(b.extent));
  if (!shape) return InvalidData("its inputs differ in shape");
  if (number && (op == RowOp::kAdd || (op == RowOp::kSub && first))) {
    constexpr double kMost = 1 << 20;
    if (!(std::abs(*number) <= kMost) || *number != std::floor(*number) ||
        std::abs(static_cast<double>(attrs.offset)) > kMost) {
      return InvalidData("it moves positions by an absurd number");
    }
    attrs.offset += static_cast<int64_t>(op == RowOp::kAdd ? *number : -*number);
  } else if (op == RowOp::kMul && other.kind == BaseKind::kMask && MaskOf(other).IsPlain() &&
             MaskOf(other).skip_id == attrs.skip_id && attrs.offset == 1 &&
             AllAtoms(other.extent) == AllAtoms(result.extent)) {
    positions.skips = true;
  } else {
    return NotOfOurs("computes with positions");
  }
  TRY(result, Broadcast(std::move(result), *shape));
  result.id = static_cast<int>(positions_.size());
  positions_.push_back(positions);
  return result;
}

ValueId TfliteGraphReader::PositionIds(const PositionIdsAttrs& attrs) {
  const std::string key =
      "positions " + std::to_string(attrs.offset) + " " + std::to_string(attrs.skip_id);
  if (!made_.contains(key)) made_[key] = AddNode(OpKind::kPositionIds, {ids_}, {}, attrs);
  return made_[key];
}

Result<ValueId> TfliteGraphReader::PositionsOf(const View& view) {
  const Positions& positions = positions_[static_cast<size_t>(view.id)];
  const int64_t least = positions.attrs.offset - (positions.attrs.skip_id >= 0 ? 1 : 0);
  if (!positions.skips || least < 0) return NotOfOurs("looks up positions that it does not skip");
  return PositionIds(positions.attrs);
}

void TfliteGraphReader::LimitLength(int64_t table_rows, const PositionIdsAttrs& attrs) {
  const int64_t length = std::max<int64_t>(table_rows - attrs.offset, 1);
  longest_ = longest_ == 0 ? length : std::min(longest_, length);
}

// Sums and differences of a row for each position with a table of them.
Result<TfliteGraphReader::View> TfliteGraphReader::AddPositions(const View& rows,
                                                                const View& constant,
                                                                const std::vector<double>& table,
                                                                double sign) {
  TRY(const ValueId value, ValueOf(rows.expr));
  const int64_t width = builder_.type(value).width;
  Tensor weight;
  if (open_ && sign == 1) {
    // A table of more rows is cut to the length that is pretended; what stands before belongs to no token.
    const TfliteConstant& whole = constants_[static_cast<size_t>(constant.id)];
    const Atoms atoms = AllAtoms(constant.extent);
    const int64_t first = constant.extent.offset[0];
    const auto elements = static_cast<int64_t>(whole.size()) - first;
    const bool rows_of_table = !whole.shape.empty() && whole.shape.back() == width &&
                               constant.scale == 1 && atoms.size() == 1 && first % width == 0 &&
                               atoms[0].stride[0] == 1 && atoms[0].size == tokens_ * width;
    if (rows_of_table) {
      TRY_VOID(Spend(elements));
      Extent all;
      all.offset[0] = first;
      all.dims = {{{elements / width, {width, 0, 0, 0}}}, {{width, {1, 0, 0, 0}}}};
      weight = MatrixOf(whole, all);
    }
  }
  if (weight.rank() != 2) {
    std::vector<float> floats;
    for (const double x : table) floats.push_back(static_cast<float>(sign * x));
    weight = Tensor::FromFloats({tokens_, width}, floats);
  }
  LimitLength(weight.dim(0), {});
  const ValueId positions = AddNode(OpKind::kEmbedding, {PositionIds({})}, {std::move(weight)});
  return LeafView(AddNode(OpKind::kAdd, {value, positions}), rows.extent.dims);
}

}  // namespace thimble
