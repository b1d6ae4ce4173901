// Products: linears, attention, and both in int8.
#include <algorithm>
#include <cmath>

#include "thimble/formats/onnx/graph_reader.h"
#include "thimble/formats/onnx/onnx_fields.h"

namespace thimble {
namespace {

using AtomKind = OnnxAtom::Kind;

bool IsConstant(const OnnxValue& value) { return value.kind == OnnxValue::Kind::kConstant; }

// Columns of one head, where the axes are [batch and heads..., rows, columns of a head] or the last two crossed.
struct Heads {
  int64_t count = 1, width = 0;
  OnnxAxis lead;  // batch and heads
  OnnxAxis rows;
};

std::optional<Heads> HeadsOf(const OnnxAxes& axes, int64_t width, bool crossed) {
  if (axes.size() < 2) return std::nullopt;
  Heads heads;
  for (size_t i = 0; i + 2 < axes.size(); ++i) {
    heads.lead.insert(heads.lead.end(), axes[i].begin(), axes[i].end());
  }
  const OnnxAxis& columns = axes[axes.size() - (crossed ? 2 : 1)];
  heads.rows = axes[axes.size() - (crossed ? 1 : 2)];
  const bool has_columns =
      columns.size() == 1 && columns[0].kind == AtomKind::kWidth && columns[0].stride == 1;
  if (!has_columns && !columns.empty()) return std::nullopt;
  heads.width = has_columns ? static_cast<int64_t>(columns[0].size.value) : 1;
  for (const OnnxAtom& atom : heads.lead) {
    if (atom.kind == AtomKind::kWidth) {
      if (heads.count != 1 || atom.stride != heads.width) return std::nullopt;
      heads.count = static_cast<int64_t>(atom.size.value);
    } else if (atom.kind != AtomKind::kBatch) {
      return std::nullopt;
    }
  }
  if (heads.count * heads.width != width) return std::nullopt;
  const bool rows_fit =
      heads.rows.empty() || (heads.rows.size() == 1 && heads.rows[0].kind == AtomKind::kSequence);
  return rows_fit ? std::optional(heads) : std::nullopt;
}

// Factors are stored as float32; the usual one is meant to be exact.
double UsualScale(const OnnxValue& scores, int64_t width) {
  const double usual =
      1 / std::sqrt(static_cast<double>(width) / static_cast<double>(scores.heads));
  return std::abs(scores.scale - usual) < 1e-6 * usual ? usual : scores.scale;
}

// The heads in the same place, whatever their width.
bool SameLead(const OnnxAxis& a, const OnnxAxis& b) {
  return std::ranges::equal(a, b, [](const OnnxAtom& x, const OnnxAtom& y) {
    return x.kind == y.kind && x.size == y.size;
  });
}

}  // namespace

// Scores of keys for queries; `scale` is what they are multiplied by besides.
Result<OnnxValue> OnnxGraphReader::Scores(const Value& query, const Value& key, double scale) {
  if (query.kind != Kind::kMatrix || key.kind != Kind::kMatrix) {
    return Unsupported("multiplies what are no values of the model");
  }
  const std::optional<Heads> q = HeadsOf(query.axes, BaseOf(query.expr).width, false);
  const std::optional<Heads> k = HeadsOf(key.axes, BaseOf(key.expr).width, true);
  if (!q || !k || !SameLead(q->lead, k->lead) || q->width != k->width || k->rows.empty()) {
    return Unsupported("multiplies two values otherwise than as queries and keys of heads");
  }
  Value scores;
  scores.kind = Kind::kScores;
  scores.heads = q->count;
  scores.scale = scale;
  // A factor of queries or keys is one of their scores.
  const auto unscaled = [&](ExprId e) {
    for (const ExprId from : pool_.Cuts(e)) {
      const auto function = Recognise(pool_, e, from);
      const auto factor = function ? function->Factor() : std::nullopt;
      if (!factor) continue;
      scores.scale *= *factor;
      return from;
    }
    return e;
  };
  scores.query = unscaled(query.expr);
  scores.key = unscaled(key.expr);
  scores.axes.assign(query.axes.begin(), query.axes.end() - 1);
  scores.axes.push_back({{AtomKind::kKeys, sequence_}});
  return scores;
}

Result<OnnxValue> OnnxGraphReader::Context(const OnnxNode& node, const Value& probabilities,
                                           const Value& value) {
  if (value.kind != Kind::kMatrix) return Unsupported("multiplies what are no values of the model");
  const std::optional<Heads> v = HeadsOf(value.axes, BaseOf(value.expr).width, false);
  OnnxAxis lead;
  for (size_t i = 0; i + 2 < probabilities.axes.size(); ++i) {
    lead.insert(lead.end(), probabilities.axes[i].begin(), probabilities.axes[i].end());
  }
  if (!v || !SameLead(lead, v->lead) || v->rows.empty() || v->count != probabilities.heads ||
      value.axes.size() != probabilities.axes.size()) {
    return Unsupported(
        "multiplies weights of attention otherwise than by values of the same heads");
  }
  const std::string name = NameOf(node);
  TRY(const ExprId q, Emit(probabilities.query, name));
  TRY(const ExprId k, Emit(probabilities.key, name));
  TRY(const ExprId x, Emit(value.expr, name));
  const ValueId context =
      AddNode(OpKind::kAttention, name, {BaseOf(q).id, BaseOf(k).id, BaseOf(x).id}, {},
              AttentionAttrs{probabilities.heads, UsualScale(probabilities, BaseOf(q).width)});
  OnnxAxes axes = value.axes;
  axes[axes.size() - 2] = probabilities.axes[axes.size() - 2];
  return MatrixValue(NewBase(context, OpKind::kAttention), std::move(axes));
}

Status OnnxGraphReader::ReadMatMul(const OnnxNode& node) {
  TRY(const Value a, In(node, 0));
  TRY(const Value b, In(node, 1));
  Value result;
  if (IsConstant(b)) {
    TRY(result, EmitLinear(node, a, *b.constant, false));
  } else if (a.kind == Kind::kProbabilities) {
    TRY(result, Context(node, a, b));
  } else {
    TRY(result, Scores(a, b, 1));
  }
  Set(node, std::move(result));
  return {};
}

Status OnnxGraphReader::ReadGemm(const OnnxNode& node) {
  TRY(const Value a, In(node, 0));
  TRY(const Value b, In(node, 1));
  const auto number = [&](const char* name, double fallback) {
    const auto found = node.attributes.find(name);
    return found == node.attributes.end() ? fallback : static_cast<double>(found->second.real);
  };
  const auto flag = [&](const char* name) {
    const auto found = node.attributes.find(name);
    return found != node.attributes.end() && found->second.integer != 0;
  };
  if (number("alpha", 1) != 1 || number("beta", 1) != 1 || flag("transA") || !IsConstant(b)) {
    return Unsupported("is read for rows times a constant only, without factors");
  }
  TRY(Value result, EmitLinear(node, a, *b.constant, flag("transB")));
  if (Has(node, 2)) {
    TRY(const bool added, AddBias(node, result, 2));
    if (!added) return Unsupported("adds what is no constant");
  }
  Set(node, std::move(result));
  return {};
}

Status OnnxGraphReader::ReadSoftmax(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  const auto found = node.attributes.find("axis");
  const int64_t axis =
      found == node.attributes.end() ? (file_.opset >= 13 ? -1 : 1) : found->second.integer;
  if (AxisIndex(axis, x.axes.size()) != x.axes.size() - 1 || x.axes.empty()) {
    return Unsupported("is read over the last axis only");
  }
  if (x.kind == Kind::kScores && x.axes.back().size() == 1 &&
      x.axes.back()[0].kind == AtomKind::kKeys) {
    x.kind = Kind::kProbabilities;
  } else if (x.kind == Kind::kMatrix && WholeRows(x)) {
    x.kind = Kind::kSoftmax;
  } else {
    return Unsupported("is read over scores of attention and over logits only");
  }
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadDynamicQuantizeLinear(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  if (x.kind != Kind::kMatrix) return Unsupported("quantizes what are no values of the model");
  x.number = 0;
  for (size_t i = 0; i < 3; ++i) {
    x.kind = i == 0 ? Kind::kQuantized : i == 1 ? Kind::kScale : Kind::kZeroPoint;
    Set(node, x, i);
  }
  return {};
}

// Of values only what linears do with it is kept: the scale of symmetric codes.
Status OnnxGraphReader::ReadQuantizeLinear(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  TRY(const double scale, Number(node, 1));
  double zero = 0;
  bool is_unsigned = true;
  if (Has(node, 2)) {
    TRY(zero, Number(node, 2));
    const auto stored = values_.find(node.inputs[2]);
    is_unsigned = stored->second.constant == nullptr ||
                  stored->second.constant->tensor.type == onnx_fields::tensor::kUint8;
  }
  if (x.kind == Kind::kConstant || x.kind == Kind::kNumbers)
    return Unsupported("quantizes a constant");
  if (x.kind == Kind::kMatrix) {
    // Our exporter cuts off the code that is not used before it quantizes.
    const auto bound = [&](RowOp op) {
      const RowExpressions::Piece& piece = pool_[x.expr];
      const auto number = piece.op == op ? pool_.NumberOf(piece.b) : std::nullopt;
      return number && std::abs(std::abs(*number) - 127 * scale) < 1e-4 * scale;
    };
    for (const RowOp op : {RowOp::kMin, RowOp::kMax}) {
      if (bound(op)) x.expr = pool_[x.expr].a;
    }
    const bool symmetric = zero == (is_unsigned ? 128 : 0) && scale > 0;
    if (!symmetric)
      Warn(
          "scales of activations with a zero point are left out: they are computed in more digits "
          "here");
    x.number = symmetric ? scale : 0;
    x.kind = Kind::kQuantized;
  }
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadDequantizeLinear(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  if (x.kind == Kind::kConstant || x.kind == Kind::kRows) {
    TRY(const std::vector<double> scales, Numbers(node, 1));
    OnnxConstant quantized = *x.constant;
    quantized.scales.assign(scales.begin(), scales.end());
    quantized.zeros.assign(scales.size(), 0);
    if (Has(node, 2)) {
      TRY(const std::vector<double> zeros, Numbers(node, 2));
      if (zeros.size() != scales.size())
        return InvalidData("has not as many zero points as scales");
      for (size_t i = 0; i < zeros.size(); ++i) quantized.zeros[i] = static_cast<int32_t>(zeros[i]);
    }
    if (quantized.transposed) return Unsupported("dequantizes a matrix that has been turned");
    const Shape& dims = quantized.tensor.dims;
    const auto found = node.attributes.find("axis");
    const std::optional<size_t> axis =
        AxisIndex(found == node.attributes.end() ? 1 : found->second.integer, dims.size());
    if (scales.size() != 1) {
      if (!axis || dims[*axis] != static_cast<int64_t>(scales.size())) {
        return InvalidData("has " + std::to_string(scales.size()) + " scales for a constant " +
                           ShapeText(dims));
      }
      quantized.axis = *axis;
    }
    if (x.kind == Kind::kRows) {
      Value ids;
      ids.kind = Kind::kIds;
      ids.id = x.id;
      ids.axes = {x.axes.begin(), x.axes.end() - 1};
      TRY(x, EmitLookup(NameOf(node), quantized, ids));
    } else {
      x.constant = std::make_shared<OnnxConstant>(std::move(quantized));
    }
    Set(node, std::move(x));
    return {};
  }
  // A linear that reads it takes the scale; to everything else the values are what they were.
  if (x.kind == Kind::kQuantized) {
    x.kind = Kind::kMatrix;  // its `number` stays
  } else if (x.kind == Kind::kIntegerProduct || x.kind == Kind::kScale) {
    return Unsupported("dequantizes what is no constant and no value of the model");
  }
  Set(node, std::move(x));
  return {};
}

Result<OnnxValue> OnnxGraphReader::IntegerProduct(const Value& x, const Value& weight,
                                                  const Value* zeros) {
  if (x.kind != Kind::kQuantized || !IsConstant(weight) || weight.constant->dims().size() != 2) {
    return Unsupported("multiplies otherwise than a quantized value by a constant");
  }
  OnnxConstant codes = *weight.constant;
  codes.zeros = {0};
  if (zeros != nullptr) {
    const std::optional<Value> numbers = AsNumbers(*zeros);
    if (!numbers || numbers->numbers.empty()) return Unsupported("its zero point is no constant");
    codes.zeros.clear();
    for (const OnnxNumber& n : numbers->numbers)
      codes.zeros.push_back(static_cast<int32_t>(n.value));
  }
  if (codes.zeros.size() != 1 && static_cast<int64_t>(codes.zeros.size()) != codes.dims()[1]) {
    return InvalidData("has a wrong number of zero points");
  }
  Value product = x;
  product.kind = Kind::kIntegerProduct;
  product.constant = std::make_shared<OnnxConstant>(std::move(codes));
  return product;
}

Status OnnxGraphReader::ReadMatMulInteger(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  TRY(const Value weight, In(node, 1));
  std::optional<Value> zeros;
  if (Has(node, 3)) {
    TRY(zeros, In(node, 3));
  }
  TRY(Value product, IntegerProduct(x, weight, zeros ? &*zeros : nullptr));
  Set(node, std::move(product));
  return {};
}

}  // namespace thimble
