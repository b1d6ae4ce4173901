// Elementwise operators on what is no matrix: scores of attention, places, sums by the mask, codes.
#include <algorithm>
#include <cmath>

#include "thimble/formats/onnx/graph_reader.h"

namespace thimble {
namespace {

// Weights of what is masked vanish after Softmax of scores that are this low.
constexpr double kMasksAt = -1000;

}  // namespace

Result<OnnxValue> OnnxGraphReader::CombineScores(RowOp op, const Value& scores,
                                                 const Value& other) {
  Value result = scores;
  const std::optional<double> number = SameNumber(other);
  if (number && (op == RowOp::kMul || op == RowOp::kDiv)) {
    result.scale *= op == RowOp::kMul ? *number : 1 / *number;
    return result;
  }
  // Lifts scores off minus infinity.
  if (number && op == RowOp::kMax && *number <= kMasksAt) return result;
  if (op == RowOp::kAdd && other.kind == Kind::kMask) return MaskScores(scores, other);
  if (op == RowOp::kAdd && number && *number == 0) return result;
  return Unsupported("changes the scores of attention otherwise than by a factor and a mask");
}

// `mask`: what is added.
Result<OnnxValue> OnnxGraphReader::MaskScores(const Value& scores, const Value& mask) {
  Value result = scores;
  if (mask.if_zero == 0 && mask.if_one == 0) return result;
  if (!(std::abs(mask.if_one) < 1e-6 && mask.if_zero <= kMasksAt)) {
    return Unsupported("adds to the scores of attention what is no mask of tokens");
  }
  const std::optional<OnnxAxes> axes = Broadcast(scores.axes, mask.axes);
  const auto of_keys = [](const OnnxAtom& atom) { return atom.kind == OnnxAtom::Kind::kSequence; };
  bool fits = mask.axes.size() >= 2 && mask.axes.size() <= scores.axes.size();
  for (size_t i = 0; fits && i < mask.axes.size(); ++i) {
    const bool last = i + 1 == mask.axes.size();
    const bool has_keys = std::ranges::any_of(mask.axes[i], of_keys);
    fits = has_keys == last && AxisSize(mask.axes[i]).sequences <= 1;
  }
  if (!fits) return Unsupported("masks the scores of attention otherwise than by keys");
  if (mask.skip_id) {
    Warn("its mask is made of the ids that are not " + std::to_string(*mask.skip_id) +
         "; here the caller's mask says it");
  }
  return result;
}

Result<OnnxValue> OnnxGraphReader::CombineSpecial(const OnnxNode& node, RowOp op, const Value& a,
                                                  const Value& b) {
  // From here on the second is the one that sorts later.
  if (a.kind > b.kind && op != RowOp::kSub && op != RowOp::kDiv && op != RowOp::kPow)
    return CombineSpecial(node, op, b, a);
  const std::optional<double> number_a = SameNumber(a), number_b = SameNumber(b);
  Value result = a;
  if (a.kind == Kind::kIds && b.kind == Kind::kIds && a.id == b.id && op == RowOp::kSub) {
    result.kind = Kind::kMask;
    result.if_zero = result.if_one = 0;
    return result;
  }
  const std::optional<double> moved = a.kind == Kind::kPositions ? number_b : number_a;
  const bool moves = op == RowOp::kAdd || (op == RowOp::kSub && a.kind == Kind::kPositions);
  if ((a.kind == Kind::kPositions) != (b.kind == Kind::kPositions) && moved && moves) {
    if (!(std::abs(*moved) < 1e9)) return Unsupported("moves places out of every table");
    result = a.kind == Kind::kPositions ? a : b;
    result.positions.offset += static_cast<int64_t>(op == RowOp::kAdd ? *moved : -*moved);
    return result;
  }
  if (a.kind == Kind::kPositions && b.kind == Kind::kMask && op == RowOp::kMul) {
    if (b.if_zero == 1 && b.if_one == 1) return result;
    const bool zeroes =
        b.skip_id && *b.skip_id == a.positions.skip_id && b.if_one == 0 && b.if_zero == 1;
    if (zeroes && a.positions.offset == 1) {
      result.skipped_in_place = true;
      return result;
    }
  }
  if (a.kind == Kind::kMatrix && b.kind == Kind::kMask && op == RowOp::kMul) {
    if (b.if_zero == 0 && b.if_one == 1 && !b.skip_id) {
      result.kind = Kind::kMaskedMatrix;
      return result;
    }
  }
  if (b.kind == Kind::kMaskSum && number_a && op == RowOp::kMax) return b;
  if (a.kind == Kind::kMaskedSum && b.kind == Kind::kMaskSum && op == RowOp::kDiv) {
    Value matrix = a;
    matrix.kind = Kind::kMatrix;
    return Pool(NameOf(node), matrix, PoolKind::kMean, a.axes);
  }
  if (op == RowOp::kMul && b.kind == Kind::kScale &&
      (a.kind == Kind::kNumbers || a.kind == Kind::kConstant)) {
    const std::optional<Value> scales = AsNumbers(a);
    if (scales && b.vector.empty()) {
      result = b;
      for (const OnnxNumber& n : scales->numbers)
        result.vector.push_back(static_cast<float>(n.value));
      return result;
    }
  }
  if (op == RowOp::kMul && b.kind == Kind::kIntegerProduct) return ScaledProduct(node, b, a);
  if (op == RowOp::kMul && a.kind == Kind::kRows && b.kind == Kind::kRows && a.id == b.id)
    return ScaledRows(node, a, b);
  return Unsupported("combines what is no operation of ours");
}

// Sums of products of codes times what they stand for: one scale for all columns or one each.
Result<OnnxValue> OnnxGraphReader::ScaledProduct(const OnnxNode& node, const Value& product,
                                                 const Value& scale) {
  OnnxConstant weight = *product.constant;
  if (scale.kind == Kind::kScale) {
    weight.scales = scale.vector;
  } else {
    const std::optional<Value> numbers = AsNumbers(scale);
    if (!numbers || product.number == 0) return Unsupported("scales a product by what is no scale");
    // The scale of the input is in there.
    for (const OnnxNumber& n : numbers->numbers) {
      weight.scales.push_back(static_cast<float>(n.value / product.number));
    }
  }
  const auto outputs = static_cast<size_t>(weight.dims()[1]);
  if (weight.scales.size() != 1 && weight.scales.size() != outputs) {
    return InvalidData("has " + std::to_string(weight.scales.size()) + " scales for " +
                       std::to_string(outputs) + " columns");
  }
  const size_t count = std::max(weight.scales.size(), weight.zeros.size());
  weight.scales.resize(count, weight.scales[0]);
  weight.zeros.resize(count, weight.zeros[0]);
  weight.axis = weight.transposed ? 0 : 1;
  Value codes = product;
  codes.kind = Kind::kQuantized;
  return EmitLinear(node, codes, weight, false);
}

// Codes of a table and their scales, looked up alike.
Result<OnnxValue> OnnxGraphReader::ScaledRows(const OnnxNode& node, const Value& a,
                                              const Value& b) {
  const bool first_scales = a.constant->dims().back() == 1;
  OnnxConstant table = first_scales ? *b.constant : *a.constant;
  const OnnxConstant& scales = first_scales ? *a.constant : *b.constant;
  const auto rows = static_cast<size_t>(table.dims()[0]);
  const auto numbers = ConstantNumbers(scales, rows);
  if (!numbers || numbers->size() != rows || table.transposed || table.quantized()) {
    return Unsupported("multiplies two tables");
  }
  table.scales.assign(numbers->begin(), numbers->end());
  table.zeros.assign(rows, 0);
  table.axis = 0;
  Value ids;
  ids.kind = Kind::kIds;
  ids.id = a.id;
  ids.axes = {a.axes.begin(), a.axes.end() - 1};
  return EmitLookup(NameOf(node), table, ids);
}

}  // namespace thimble
