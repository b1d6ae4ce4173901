// Sums, products, functions and reductions: of constants they are computed, of scores understood at
// once, and of rows kept as expressions. Masks and positions stand in read_tokens.cc.
#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include "thimble/formats/tflite/graph_reader.h"

namespace thimble {
namespace {

using enum tfl::BuiltinOperator;

// What a masked score is lowered by, at least: e^-20 of an attention is nothing.
constexpr double kMaskedScore = -20;

}  // namespace

std::optional<double> TfliteGraphReader::Uniform(const View& view) {
  if (view.kind != BaseKind::kConstant) return std::nullopt;
  const Result<std::vector<double>> values = ConstantValues(view);
  if (!values || values->empty()) return std::nullopt;
  for (const double value : *values) {
    if (value != (*values)[0]) return std::nullopt;
  }
  return (*values)[0];
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadUnary(const TfliteOp& op) {
  TRY(const View x, In(op, 0));
  double parameter = 0;
  if (const auto* options = op.options<tfl::LeakyReluOptions>()) parameter = options->alpha();
  if (const auto* options = op.options<tfl::GeluOptions>()) parameter = options->approximate();
  if (op.code != L2_NORMALIZATION) return Unary(*RowOpOf(op.code), x, parameter);
  TRY(View rows, Whole(x));
  rows.expr = rows_.Apply(RowOp::kDiv, rows.expr, rows_.Apply(RowOp::kNorm, rows.expr));
  return rows;
}

Result<TfliteGraphReader::View> TfliteGraphReader::Unary(RowOp op, View x, double parameter) {
  if (x.kind == BaseKind::kConstant) {
    TRY(std::vector<double> values, ConstantValues(x));
    for (double& value : values) value = Compute(op, value, 0, parameter);
    return FromValues(ShapeOf(x.extent), values, IsWholeNumbers(x));
  }
  if (x.kind == BaseKind::kMask) {
    MaskValues values = MaskOf(x);
    values.present = Compute(op, values.present, 0, parameter);
    values.absent = Compute(op, values.absent, 0, parameter);
    return NewMask(std::move(x), values);
  }
  if (op == RowOp::kNeg) {
    TRY(const View minus_one, FromValues({}, {-1}, false));
    return Binary(RowOp::kMul, x, minus_one);
  }
  TRY(View rows, Whole(x));
  rows.expr = rows_.Apply(op, rows.expr, kNoExpr, parameter);
  return rows;
}

Result<TfliteGraphReader::View> TfliteGraphReader::FoldBinary(RowOp op, const View& a,
                                                              const View& b) {
  const auto shape = BroadcastShape(ShapeOf(a.extent), ShapeOf(b.extent));
  if (!shape) return InvalidData("its inputs differ in shape");
  TRY(const View x, Broadcast(a, *shape));
  TRY(const View y, Broadcast(b, *shape));
  TRY(std::vector<double> values, ConstantValues(x));
  TRY(const std::vector<double> others, ConstantValues(y));
  const bool whole = IsWholeNumbers(a) && IsWholeNumbers(b);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = Compute(op, values[i], others[i]);
    if (whole && op == RowOp::kDiv)
      values[i] = std::isfinite(values[i]) ? std::trunc(values[i]) : 0;
  }
  return FromValues(*shape, values, whole);
}

Result<TfliteGraphReader::View> TfliteGraphReader::ScoresBinary(RowOp op, const View& a,
                                                                const View& b) {
  const bool first = a.kind == BaseKind::kScores;
  View result = first ? a : b;
  const View& other = first ? b : a;
  Scores scores = scores_[static_cast<size_t>(result.id)];
  if (other.kind == BaseKind::kConstant) {
    const std::optional<double> number = Uniform(other);
    if (number && op == RowOp::kMul) {
      scores.scale *= *number;
    } else if (number && op == RowOp::kDiv && first && *number != 0) {
      scores.scale /= *number;
    } else if (number && (op == RowOp::kAdd || (op == RowOp::kSub && first))) {
      // The same for all keys: the softmax does not see it.
    } else {
      return NotOfOurs("changes an attention's scores");
    }
  } else if (other.kind == BaseKind::kMask && (op == RowOp::kAdd || (op == RowOp::kSub && first))) {
    const MaskValues& mask = MaskOf(other);
    const double lowered = (op == RowOp::kSub ? -1 : 1) * (mask.absent - mask.present);
    if (!(lowered <= kMaskedScore)) return NotOfOurs("adds a mask that hides nothing");
    const size_t rank = result.extent.dims.size();
    if (other.extent.dims.size() > rank) return NotOfOurs("adds a mask of another shape");
    const std::vector<Atoms> dims = Aligned(other.extent.dims, rank);
    std::vector<int> candidates;
    for (size_t i = 0; i < rank; ++i) {
      const bool token = std::any_of(dims[i].begin(), dims[i].end(),
                                     [](const Atom& atom) { return atom.stride[0] != 0; });
      if (!token) continue;
      const Atoms at = Merged(result.extent.dims[i]);
      if (IsTokens(dims[i]) && IsTokens(at, 0)) candidates.push_back(0);
      if (IsTokens(dims[i]) && IsTokens(at, 1)) candidates.push_back(1);
    }
    if (candidates.empty()) return NotOfOurs("adds a mask of another shape");
    scores.masked = true;
    // A mask of both tokens is decided by the softmax, which names the keys.
    scores.masked_token = candidates.size() == 1 ? candidates[0] : -1;
  } else {
    return NotOfOurs("adds something computed to an attention's scores");
  }
  if (!std::isfinite(scores.scale)) return InvalidData("an attention's scale is not finite");
  const auto known = std::find(scores_.begin(), scores_.end(), scores);
  result.id = static_cast<int>(known - scores_.begin());
  if (known == scores_.end()) scores_.push_back(scores);
  return result;
}

Result<TfliteGraphReader::View> TfliteGraphReader::RowsAndConstant(RowOp op, const View& rows,
                                                                   const View& constant,
                                                                   bool constant_first) {
  View result = rows;
  const auto binary = [&](std::vector<double> values) {
    const ExprId number = rows_.Constant(std::move(values));
    result.expr =
        constant_first ? rows_.Apply(op, number, rows.expr) : rows_.Apply(op, rows.expr, number);
    return result;
  };
  if (const std::optional<double> number = Uniform(constant)) {
    const auto spread = BroadcastShape(ShapeOf(rows.extent), ShapeOf(constant.extent));
    if (spread && ElementCount(*spread) == ElementCount(ShapeOf(rows.extent))) {
      TRY(result, Broadcast(rows, *spread));
      return binary({*number});
    }
  }
  // A number per column; the reduced dimension of a row's mean has none, its shape still says where it was.
  const RowExpressions::Piece piece = rows_[rows.expr];
  const auto shape = BroadcastShape(ShapeOf(rows.extent), ShapeOf(constant.extent));
  if (!shape) return InvalidData("its inputs differ in shape");
  const size_t rank = shape->size();
  result.extent.dims = Aligned(rows.extent.dims, rank);
  int64_t width = piece.width;
  if (width == 1) {
    const int64_t leaf_width = rows_[piece.base].width;
    if (leaf_width > 1 && result.extent.dims.back().empty() && shape->back() == leaf_width) {
      result.extent.dims.back() = {{leaf_width, {0, 1, 0, 0}}};
      width = leaf_width;
    }
  }
  if (ShapeOf(result.extent) != *shape) return NotOfOurs("repeats rows");
  TRY(const View spread, Broadcast(constant, *shape));
  TRY(const std::vector<double> values, ConstantValues(spread));
  TRY_VOID(Spend(static_cast<int64_t>(values.size())));
  const bool per_token = RowsOf(rows.expr) == Rows::kTokens;
  std::vector<double> table(static_cast<size_t>((per_token ? tokens_ : 1) * width));
  size_t next = 0;
  ForEachElement(result.extent, [&](const Coordinates& at) {
    table[static_cast<size_t>(at[0] * width + at[1])] = values[next++];
  });
  const std::vector<double> first_row(table.begin(), table.begin() + width);
  bool same = true;
  for (size_t i = 0; i < table.size() && same; ++i) {
    same = table[i] == first_row[i % first_row.size()];
  }
  if (same) return binary(first_row);
  if (piece.width != width) return NotOfOurs("scales rows by their position");
  if (op == RowOp::kAdd) return AddPositions(result, constant, table, 1);
  if (op == RowOp::kSub && !constant_first) return AddPositions(result, constant, table, -1);
  return NotOfOurs("scales rows by their position");
}

// Codes and the scales of their rows, each looked up by the same ids, as one int8 table.
std::optional<ValueId> TfliteGraphReader::ScaledTable(ExprId a, ExprId b) {
  const auto table_of = [&](ExprId e) -> const Node* {
    const auto value = values_.find(e);
    const auto node = value == values_.end() ? nodes_.end() : nodes_.find(value->second);
    return node != nodes_.end() && node->second.op == OpKind::kEmbedding ? &node->second : nullptr;
  };
  const Node *codes = table_of(a), *scales = table_of(b);
  if (codes == nullptr || scales == nullptr || codes->inputs != scales->inputs) return std::nullopt;
  if (codes->weights[0].tensor.dim(1) == 1) std::swap(codes, scales);
  const Tensor &table = codes->weights[0].tensor, &factors = scales->weights[0].tensor;
  if (factors.dim(1) != 1 || factors.dim(0) != table.dim(0)) return std::nullopt;
  const std::vector<float> values = table.ToFloats();
  auto each = std::make_shared<std::vector<float>>(factors.ToFloats());
  std::vector<int8_t> bytes;
  bytes.reserve(values.size());
  for (const float value : values) {
    if (!(std::abs(value) <= 127) || value != std::round(value)) return std::nullopt;
    bytes.push_back(static_cast<int8_t>(value));
  }
  for (const float scale : *each) {
    if (!(scale >= 0 && std::isfinite(scale))) return std::nullopt;
  }
  const std::span<const float> view(*each);
  return AddNode(OpKind::kEmbedding, codes->inputs,
                 {Tensor::Copy(DType::kI8, table.shape(), std::as_bytes(std::span(bytes)))
                      .WithScales(view, std::move(each))});
}

Result<TfliteGraphReader::View> TfliteGraphReader::RowsAndRows(RowOp op, const View& a,
                                                               const View& b) {
  const auto dims = CommonDims(a.extent, b.extent);
  if (!dims) return NotOfOurs("joins rows that are laid out differently");
  View result = a;
  result.extent.dims = *dims;
  if (rows_[a.expr].base == rows_[b.expr].base) {
    result.expr = rows_.Apply(op, a.expr, b.expr);
    return result;
  }
  if (op == RowOp::kMul) {
    if (const auto table = ScaledTable(a.expr, b.expr)) return LeafView(*table, *dims);
  }
  if (op != RowOp::kAdd && op != RowOp::kSub) return NotOfOurs("multiplies two computed values");
  TRY(const ValueId x, ValueOf(a.expr));
  TRY(ValueId y, ValueOf(b.expr));
  if (builder_.type(x) != builder_.type(y)) return NotOfOurs("adds rows of different kinds");
  if (op == RowOp::kSub) {
    const auto width = static_cast<size_t>(builder_.type(y).width);
    RowFunction minus{.kind = RowFunction::Kind::kAffine};
    minus.weight.values.assign(width, -1), minus.bias.values.assign(width, 0);
    TRY(y, Apply(minus, y));
  }
  return LeafView(AddNode(OpKind::kAdd, {x, y}), *dims);
}

// Scaling of a part of a matrix, such as one head of the queries; the mean of the tokens that are there.
Result<TfliteGraphReader::View> TfliteGraphReader::ScaledRows(RowOp op, const View& a,
                                                              const View& b) {
  if (a.kind == BaseKind::kMaskedSum && b.kind == BaseKind::kMaskCount && op == RowOp::kDiv) {
    TRY(const ValueId value, ValueOf(a.expr));
    const ValueId mean = AddNode(OpKind::kPool, {value}, {}, PoolAttrs{PoolKind::kMean});
    return LeafView(mean, a.extent.dims);
  }
  if (a.kind == BaseKind::kMaskCount && (op == RowOp::kMax || op == RowOp::kAdd)) {
    const std::optional<double> least = Uniform(b);
    if (least && *least >= 0 && *least <= 1) return a;  // against a division by zero
  }
  return NotOfOurs("computes with a masked sum");
}

Result<TfliteGraphReader::View> TfliteGraphReader::Binary(RowOp op, View a, View b) {
  const auto either = [&](BaseKind kind) { return a.kind == kind || b.kind == kind; };
  const bool a_constant = a.kind == BaseKind::kConstant, b_constant = b.kind == BaseKind::kConstant;
  if (a_constant && b_constant) return FoldBinary(op, a, b);
  if (either(BaseKind::kMaskCount) || either(BaseKind::kMaskedSum)) return ScaledRows(op, a, b);
  if (either(BaseKind::kScores)) return ScoresBinary(op, a, b);
  if (either(BaseKind::kPositions)) return PositionsBinary(op, a, b);
  const auto is_mask = [](const View& v) {
    return v.kind == BaseKind::kMask || v.kind == BaseKind::kIds;
  };
  if ((is_mask(a) || a_constant) && (is_mask(b) || b_constant)) return MaskBinary(op, a, b);
  if (is_mask(a) || is_mask(b)) {
    const View& mask = is_mask(a) ? a : b;
    const bool plain = op == RowOp::kMul && mask.kind == BaseKind::kMask && MaskOf(mask).IsPlain();
    if (!plain) return NotOfOurs("mixes a mask into rows");
    TRY(View rows, Whole(is_mask(a) ? b : a));
    TRY(const ValueId value, ValueOf(rows.expr));
    View masked = LeafView(value, rows.extent.dims);
    masked.kind = BaseKind::kMasked;
    return masked;
  }
  // A factor leaves a part what it is.
  if ((op == RowOp::kMul && (a_constant || b_constant)) || (op == RowOp::kDiv && b_constant)) {
    View& part = a_constant ? b : a;
    const std::optional<double> factor = Uniform(a_constant ? a : b);
    const bool scalable = part.kind == BaseKind::kRows || part.kind == BaseKind::kContext;
    if (factor && *factor != 0 && scalable && !IsWhole(part)) {
      part.scale *= op == RowOp::kMul ? *factor : 1 / *factor;
      return part;
    }
  }
  if (a_constant || b_constant) {
    TRY(const View rows, Whole(a_constant ? b : a));
    return RowsAndConstant(op, rows, a_constant ? a : b, a_constant);
  }
  TRY(const View x, Whole(a));
  TRY(const View y, Whole(b));
  return RowsAndRows(op, x, y);
}

Result<TfliteGraphReader::View> TfliteGraphReader::FoldReduce(const TfliteOp& op, const View& x,
                                                              const std::vector<bool>& gone) {
  TRY(const std::vector<double> values, ConstantValues(x));
  const Shape shape = ShapeOf(x.extent);
  Shape kept;
  for (size_t i = 0; i < shape.size(); ++i) kept.push_back(gone[i] ? 1 : shape[i]);
  const std::optional<size_t> count = ElementCount(kept);
  const double start = op.code == REDUCE_PROD  ? 1
                       : op.code == REDUCE_MAX ? -INFINITY
                       : op.code == REDUCE_MIN ? INFINITY
                                               : 0;
  if (values.empty()) return InvalidData("it reduces nothing");
  std::vector<double> result(*count, start);
  for (size_t i = 0; i < values.size(); ++i) {
    size_t at = 0, rest = i;
    size_t stride = 1;
    for (size_t d = shape.size(); d-- > 0;) {
      const size_t index = rest % static_cast<size_t>(shape[d]);
      rest /= static_cast<size_t>(shape[d]);
      if (!gone[d]) at += index * stride, stride *= static_cast<size_t>(shape[d]);
    }
    double& to = result[at];
    to = op.code == REDUCE_PROD  ? to * values[i]
         : op.code == REDUCE_MAX ? std::max(to, values[i])
         : op.code == REDUCE_MIN ? std::min(to, values[i])
                                 : to + values[i];
  }
  if (op.code == MEAN) {
    for (double& mean : result) {
      mean *= static_cast<double>(result.size()) / static_cast<double>(values.size());
    }
  }
  return FromValues(kept, result, IsWholeNumbers(x));
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadReduce(const TfliteOp& op) {
  TRY(View x, In(op, 0));
  TRY(const std::vector<int64_t> axes, Numbers(op, 1));
  const auto* options = op.options<tfl::ReducerOptions>();
  const bool keep = options != nullptr && options->keep_dims();
  const size_t rank = x.extent.dims.size();
  std::vector<bool> gone(rank, false);
  for (const int64_t axis : axes) {
    TRY(const size_t dim, Axis(axis, rank));
    gone[dim] = true;
  }
  Atoms reduced;
  const auto drop = [&](View view) {
    std::vector<Atoms> dims;
    for (size_t i = 0; i < rank; ++i) {
      if (!gone[i]) dims.push_back(view.extent.dims[i]);
      if (gone[i] && keep) dims.emplace_back();
    }
    view.extent.dims = std::move(dims);
    return view;
  };
  if (x.kind == BaseKind::kConstant) {
    TRY(x, FoldReduce(op, x, gone));
    return drop(std::move(x));
  }
  const bool adds = op.code == MEAN || op.code == SUM;
  if (!adds) return NotOfOurs("reduces computed values by something else than a sum or mean");
  if (x.kind != BaseKind::kMask && x.kind != BaseKind::kMasked) {
    TRY(x, Whole(x));
  }
  for (size_t i = 0; i < rank; ++i) {
    if (gone[i]) reduced.insert(reduced.end(), x.extent.dims[i].begin(), x.extent.dims[i].end());
  }
  reduced = Merged(reduced);
  if (IsTokens(reduced)) {
    if (x.kind == BaseKind::kMask && op.code == SUM && MaskOf(x).IsPlain() &&
        AllAtoms(x.extent) == reduced) {
      x.kind = BaseKind::kMaskCount;
      return drop(std::move(x));
    }
    if (x.kind == BaseKind::kMasked && op.code == SUM) {
      x.kind = BaseKind::kMaskedSum;
      return drop(std::move(x));
    }
    if (x.kind == BaseKind::kRows && op.code == MEAN && rows_[x.expr].width > 1) {
      TRY(const ValueId value, ValueOf(x.expr));
      pools_unmasked_ = true;
      const ValueId mean = AddNode(OpKind::kPool, {value}, {}, PoolAttrs{PoolKind::kMean});
      return LeafView(mean, drop(std::move(x)).extent.dims);
    }
    return NotOfOurs("reduces over tokens");
  }
  if (x.kind == BaseKind::kMasked) {
    TRY(x, Whole(x));
  }
  int64_t columns = 1;
  for (const Atom& atom : reduced) {
    if (atom.stride[0] != 0) return NotOfOurs("reduces tokens and columns at once");
    columns *= atom.size;
  }
  if (x.kind != BaseKind::kRows || columns != rows_[x.expr].width) {
    return NotOfOurs("reduces a part of the columns");
  }
  // A norm's input is a value of its own where it is a function that we know.
  const std::vector<ExprId> cuts = rows_.Cuts(x.expr);
  if (!cuts.empty() && !values_.contains(x.expr)) {
    TRY(const auto function, FunctionOf(x.expr, cuts.front()));
    if (function) {
      TRY(const ValueId value, ValueOf(x.expr));
      (void)value;
    }
  }
  x.expr = rows_.Apply(op.code == MEAN ? RowOp::kMean : RowOp::kSum, x.expr);
  return drop(std::move(x));
}

// A choice between scores and a number that is as good as minus infinity.
Result<TfliteGraphReader::View> TfliteGraphReader::ReadSelect(const TfliteOp& op) {
  TRY(const View condition, In(op, 0));
  TRY(const View yes, In(op, 1));
  TRY(const View no, In(op, 2));
  if (condition.kind != BaseKind::kMask) return NotOfOurs("chooses by something else than a mask");
  const MaskValues mask = MaskOf(condition);
  const auto yes_number = Uniform(yes), no_number = Uniform(no);
  if (yes_number && no_number) {
    const auto shape = BroadcastShape(ShapeOf(condition.extent), ShapeOf(yes.extent));
    if (!shape) return InvalidData("its inputs differ in shape");
    TRY(View chosen, Broadcast(condition, *shape));
    const auto choose = [&](double c) { return c != 0 ? *yes_number : *no_number; };
    return NewMask(std::move(chosen), {choose(mask.present), choose(mask.absent), mask.skip_id});
  }
  const bool keeps_yes = mask.present != 0 && mask.absent == 0;
  const bool keeps_no = mask.present == 0 && mask.absent != 0;
  const View& scores = keeps_yes ? yes : no;
  const std::optional<double> hidden = keeps_yes ? no_number : yes_number;
  if ((!keeps_yes && !keeps_no) || scores.kind != BaseKind::kScores || !hidden ||
      !(*hidden <= kMaskedScore)) {
    return NotOfOurs("chooses between computed values");
  }
  return ScoresBinary(RowOp::kAdd, scores, NewMask(condition, {0, -INFINITY, mask.skip_id}));
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadSoftmax(const TfliteOp& op) {
  TRY(View x, In(op, 0));
  if (x.extent.dims.empty()) return InvalidData("it takes a single number");
  double beta = 1;
  if (const auto* options = op.options<tfl::SoftmaxOptions>()) beta = options->beta();
  if (x.kind != BaseKind::kScores) {
    TRY(View rows, Whole(x));
    const bool columns = SizeOf(rows.extent.dims.back()) == rows_[rows.expr].width;
    if (!columns || beta != 1) return NotOfOurs("is a softmax over something else than columns");
    TRY(const ValueId value, ValueOf(rows.expr));
    View softmax = LeafView(value, rows.extent.dims);
    softmax.kind = BaseKind::kSoftmax;
    return softmax;
  }
  if (op.code == LOG_SOFTMAX) return NotOfOurs("is a logarithm of an attention");
  Scores scores = scores_[static_cast<size_t>(x.id)];
  scores.scale *= beta;
  const Atoms last = Merged(x.extent.dims.back());
  int key = -1;
  if (IsTokens(last, 0)) key = 0;
  if (IsTokens(last, 1)) key = 1;
  if (key < 0) return NotOfOurs("is a softmax over something else than tokens");
  if (scores.masked && scores.masked_token >= 0 && scores.masked_token != key) {
    return NotOfOurs("masks queries, not keys");
  }
  scores.masked_token = 1;
  if (!scores.masked) attends_unmasked_ = true;
  if (key == 0) {
    std::swap(scores.q, scores.k);
    std::swap(scores.q_depth, scores.k_depth);
    const auto swapped = [](Coordinates& c) { std::swap(c[0], c[1]), std::swap(c[2], c[3]); };
    swapped(x.extent.offset);
    for (Atoms& atoms : x.extent.dims) {
      for (Atom& atom : atoms) swapped(atom.stride);
    }
  }
  const auto known = std::find(scores_.begin(), scores_.end(), scores);
  x.id = static_cast<int>(known - scores_.begin());
  if (known == scores_.end()) scores_.push_back(scores);
  x.kind = BaseKind::kWeights;
  return x;
}

}  // namespace thimble
