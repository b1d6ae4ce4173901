// What ONNX Runtime's optimizer writes: several of the standard's operators in one.
#include <algorithm>
#include <cmath>

#include "thimble/formats/onnx/graph_reader.h"

namespace thimble {
namespace {

// `count` rows of a matrix from the row `first` on.
Tensor SomeRows(const Tensor& matrix, int64_t first, int64_t count) {
  const size_t row_bytes = matrix.data().size() / static_cast<size_t>(matrix.dim(0));
  const Tensor rows = Tensor::Copy(matrix.dtype(), {count, matrix.dim(1)},
                                   matrix.data().subspan(static_cast<size_t>(first) * row_bytes,
                                                         static_cast<size_t>(count) * row_bytes));
  if (matrix.scales().empty()) return rows;
  const auto scales =
      matrix.scales().subspan(static_cast<size_t>(first), static_cast<size_t>(count));
  auto kept = std::make_shared<std::vector<float>>(scales.begin(), scales.end());
  return rows.WithScales(*kept, kept);
}

int64_t IntegerOf(const OnnxNode& node, const char* name, int64_t fallback) {
  const auto found = node.attributes.find(name);
  return found == node.attributes.end() ? fallback : found->second.integer;
}

}  // namespace

// Queries, keys and values from one product, then attention.
Status OnnxGraphReader::ReadFusedAttention(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  TRY(const Value weight, In(node, 1));
  if (x.kind != Kind::kMatrix || !WholeRows(x) || weight.kind != Kind::kConstant ||
      weight.constant->dims().size() != 2) {
    return Unsupported("is read for rows of the model's values and constant weights only");
  }
  if (IntegerOf(node, "unidirectional", 0) != 0 || Has(node, 4) || Has(node, 5) ||
      node.attributes.contains("qkv_hidden_sizes") || IntegerOf(node, "do_rotary", 0) != 0) {
    return Unsupported(
        "is read as encoders use it only: all keys, nothing cached, nothing added to scores");
  }
  if (Has(node, 3)) {
    TRY(const Value mask, In(node, 3));
    const bool is_mask =
        mask.kind == Kind::kMaskSum || (mask.kind == Kind::kMask && mask.if_zero == 0 &&
                                        mask.if_one == 1 && mask.axes.size() == 2);
    if (!is_mask) return Unsupported("masks otherwise than by tokens");
  }
  TRY(const ValueId id, MatrixOf(node, x));
  TRY(const Tensor all, SharedTensor(*weight.constant, true));
  const int64_t width = all.dim(0) / 3, heads = IntegerOf(node, "num_heads", 0);
  if (all.dim(0) % 3 != 0 || width < 1 || heads < 1 || width % heads != 0) {
    return InvalidData("its weights do not divide into queries, keys and values of " +
                       std::to_string(heads) + " heads");
  }
  std::optional<Weight> bias;
  if (Has(node, 2)) {
    TRY(bias, ConstantVector(node, 2, all.dim(0), ".bias"));
  }
  const std::string name = NameOf(node);
  std::vector<ValueId> parts;
  for (const char* part : {"query", "key", "value"}) {
    const auto first = static_cast<int64_t>(parts.size()) * width;
    const std::string place = name + "." + part;
    std::vector<Weight> weights = {{place + ".weight", SomeRows(all, first, width)}};
    if (bias) {
      const std::vector<float> floats = bias->tensor.ToFloats();
      weights.push_back(
          {place + ".bias",
           Tensor::FromFloats({width}, std::span(floats).subspan(static_cast<size_t>(first),
                                                                 static_cast<size_t>(width)))});
    }
    parts.push_back(
        AddNode(OpKind::kLinear, place, {id}, std::move(weights), LinearAttrs{x.number}));
  }
  const auto found = node.attributes.find("scale");
  const double usual = 1 / std::sqrt(static_cast<double>(width) / static_cast<double>(heads));
  const double scale =
      found == node.attributes.end() || found->second.real == 0 ? usual : found->second.real;
  const ValueId context = AddNode(OpKind::kAttention, name + ".attention", std::move(parts), {},
                                  AttentionAttrs{heads, scale});
  OnnxAxes axes = x.axes;
  axes.back() = WidthAxis(width);
  Set(node, MatrixValue(NewBase(context, OpKind::kAttention), std::move(axes)));
  return {};
}

// Sum of the words', the places' and the types' embeddings, then LayerNorm.
Status OnnxGraphReader::ReadEmbedLayerNormalization(const OnnxNode& node) {
  TRY(const Value ids, In(node, 0));
  const std::string name = NameOf(node);
  const auto lookup = [&](size_t table, const Value& rows, const char* suffix) -> Result<Value> {
    TRY(const Value constant, In(node, table));
    if (constant.kind != Kind::kConstant) return Unsupported("looks up in what is no constant");
    return EmitLookup(name + suffix, *constant.constant, rows);
  };
  TRY(Value sum, lookup(2, ids, ".word_embeddings"));
  Value places;
  if (Has(node, 8)) {
    TRY(places, In(node, 8));
  } else {
    places.kind = Kind::kPositions;
    places.axes = {{}, {{OnnxAtom::Kind::kSequence, sequence_}}};
  }
  TRY(const Value position, lookup(3, places, ".position_embeddings"));
  const auto add = [&](const Value& a, const Value& b) -> Result<Value> {
    if (a.kind != Kind::kMatrix || b.kind != Kind::kMatrix)
      return Unsupported("adds tables of codes");
    return CombineMatrices(node, RowOp::kAdd, a, b);
  };
  TRY(sum, add(sum, position));
  if (Has(node, 1) && Has(node, 4)) {
    TRY(const Value types, In(node, 1));
    TRY(const Value type, lookup(4, types, ".token_type_embeddings"));
    TRY(sum, add(sum, type));
  }
  TRY(Value norm, EmitNorm(node, sum, 5, 6));
  Set(node, std::move(norm));
  if (Has(node, 7)) {
    TRY(Value mask, In(node, 7));
    Set(node, std::move(mask), 1);
  }
  Set(node, std::move(sum), 2);
  return {};
}

Status OnnxGraphReader::ReadSkipLayerNormalization(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  TRY(const Value skip, In(node, 1));
  if (Has(node, 4)) {
    TRY(const Value bias, In(node, 4));
    if (x.kind != Kind::kMatrix) return Unsupported("adds what are no values of the model");
    TRY(const bool added, AddBias(node, x, 4));
    if (!added) {
      TRY(x, CombineWithConstant(node, RowOp::kAdd, x, bias, 4));
    }
  }
  TRY(const Value sum, Combine(node, RowOp::kAdd, x, skip));
  TRY(Value norm, EmitNorm(node, sum, 2, 3));
  Set(node, std::move(norm));
  Set(node, sum, 3);
  return {};
}

Status OnnxGraphReader::ReadFusedGelu(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  if (Has(node, 1)) {
    TRY(const Value bias, In(node, 1));
    TRY(x, Combine(node, RowOp::kAdd, x, bias));
  }
  const auto alpha = node.attributes.find("alpha");
  if (node.op == "QuickGelu" && alpha != node.attributes.end() &&
      std::abs(alpha->second.real - 1.702f) > 1e-6f) {
    return Unsupported("has another factor than 1.702");
  }
  const Activation function = node.op == "FastGelu"    ? Activation::kGeluTanh
                              : node.op == "QuickGelu" ? Activation::kQuickGelu
                                                       : Activation::kGelu;
  TRY(Value y, EmitActivation(node, x, function));
  Set(node, std::move(y));
  return {};
}

Status OnnxGraphReader::ReadFusedMatMul(const OnnxNode& node) {
  TRY(const Value a, In(node, 0));
  TRY(Value b, In(node, 1));
  if (IntegerOf(node, "transA", 0) != 0 || IntegerOf(node, "transBatchA", 0) != 0 ||
      IntegerOf(node, "transBatchB", 0) != 0) {
    return Unsupported("turns its first factor");
  }
  const bool turned = IntegerOf(node, "transB", 0) != 0;
  const auto alpha = node.attributes.find("alpha");
  const double factor =
      alpha == node.attributes.end() ? 1 : static_cast<double>(alpha->second.real);
  Value result;
  if (b.kind == Kind::kConstant) {
    if (factor != 1) return Unsupported("has a factor");
    TRY(result, EmitLinear(node, a, *b.constant, turned));
  } else {
    if (turned && b.axes.size() >= 2)
      std::swap(b.axes[b.axes.size() - 1], b.axes[b.axes.size() - 2]);
    if (a.kind == Kind::kProbabilities) {
      if (factor != 1) return Unsupported("has a factor");
      TRY(result, Context(node, a, b));
    } else {
      TRY(result, Scores(a, b, factor));
    }
  }
  Set(node, std::move(result));
  return {};
}

// Inputs: A, B, scale of B, zero point of B, bias.
Status OnnxGraphReader::ReadDynamicQuantizeMatMul(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  TRY(const Value weight, In(node, 1));
  TRY(const std::vector<double> scales, Numbers(node, 2));
  if (x.kind != Kind::kMatrix) return Unsupported("quantizes what are no values of the model");
  x.kind = Kind::kQuantized;
  x.number = 0;
  std::optional<Value> zeros;
  if (Has(node, 3)) {
    TRY(zeros, In(node, 3));
  }
  TRY(const Value product, IntegerProduct(x, weight, zeros ? &*zeros : nullptr));
  Value scale = x;
  scale.kind = Kind::kScale;
  scale.vector.assign(scales.begin(), scales.end());
  TRY(Value result, ScaledProduct(node, product, scale));
  if (Has(node, 4)) {
    TRY(const bool added, AddBias(node, result, 4));
    if (!added) return Unsupported("adds what is no constant");
  }
  Set(node, std::move(result));
  return {};
}

// Inputs: A, B, scale of A, scale of B, zero point of A, zero point of B, bias.
Status OnnxGraphReader::ReadMatMulIntegerToFloat(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  TRY(const Value weight, In(node, 1));
  TRY(const std::vector<double> scales, Numbers(node, 3));
  std::optional<Value> zeros;
  if (Has(node, 5)) {
    TRY(zeros, In(node, 5));
  }
  TRY(const Value product, IntegerProduct(x, weight, zeros ? &*zeros : nullptr));
  Value scale = x;
  scale.kind = Kind::kScale;
  scale.vector.assign(scales.begin(), scales.end());
  TRY(Value result, ScaledProduct(node, product, scale));
  if (Has(node, 6)) {
    TRY(const bool added, AddBias(node, result, 6));
    if (!added) return Unsupported("adds what is no constant");
  }
  Set(node, std::move(result));
  return {};
}

}  // namespace thimble
