// From views to values of the graph under construction.
#include <algorithm>

#include "thimble/formats/tflite/graph_reader.h"

namespace thimble {
namespace {

Tensor Floats(const RowFunction::Vector& vector) {
  const std::vector<float> floats(vector.values.begin(), vector.values.end());
  return Tensor::FromFloats({static_cast<int64_t>(floats.size())}, floats);
}

}  // namespace

bool TfliteGraphReader::IsTokens(const Atoms& atoms, size_t coordinate) const {
  Coordinates step{};
  step[coordinate] = 1;
  return atoms.size() == 1 && atoms[0].size == tokens_ && atoms[0].stride == step;
}

ValueId TfliteGraphReader::AddNode(OpKind op, std::vector<ValueId> inputs,
                                   std::vector<Tensor> weights, Attributes attrs) {
  Node node{.op = op, .inputs = std::move(inputs), .attrs = attrs};
  node.name = "node" + std::to_string(nodes_.size());
  constexpr const char* kNames[] = {".weight", ".bias"};
  for (size_t i = 0; i < weights.size(); ++i) {
    node.weights.push_back({node.name + kNames[i], std::move(weights[i])});
  }
  node.output = builder_.Add(op, node.name, node.inputs, node.weights, node.attrs);
  const ValueId output = node.output;
  nodes_[output] = std::move(node);
  return output;
}

TfliteGraphReader::View TfliteGraphReader::LeafView(ValueId value, std::vector<Atoms> dims) {
  if (!leaves_.contains(value)) {
    leaves_[value] = rows_.Base(builder_.type(value).width);
    values_[leaves_[value]] = value;
  }
  View view{.kind = BaseKind::kRows, .expr = leaves_[value]};
  view.extent.dims = std::move(dims);
  return view;
}

// --- Expressions

Result<ValueId> TfliteGraphReader::Apply(const RowFunction& f, ValueId x) {
  const auto norm = [&](OpKind op, Attributes attrs) {
    return AddNode(op, {x}, {Floats(f.weight), Floats(f.bias)}, attrs);
  };
  ValueId y = x;
  switch (f.kind) {
    case RowFunction::Kind::kIdentity:
      break;
    case RowFunction::Kind::kAffine:
      y = norm(OpKind::kAffine, NoAttrs{});
      break;
    case RowFunction::Kind::kActivation:
      y = AddNode(OpKind::kActivation, {x}, {}, ActivationAttrs{f.activation});
      break;
    case RowFunction::Kind::kLayerNorm:
      y = norm(OpKind::kLayerNorm, LayerNormAttrs{f.epsilon});
      break;
    case RowFunction::Kind::kL2Normalize:
      y = AddNode(OpKind::kL2Normalize, {x});
      break;
  }
  if (!builder_.ok()) return Unsupported("it gives what no operation here can hold");
  return y;
}

Result<std::optional<RowFunction>> TfliteGraphReader::FunctionOf(ExprId e, ExprId from) {
  TRY_VOID(Spend(rows_[from].width * 1024));
  return Recognise(rows_, e, from);
}

Result<ValueId> TfliteGraphReader::ValueOf(ExprId e) {
  if (const auto known = values_.find(e); known != values_.end()) return known->second;
  const std::vector<ExprId> cuts = rows_.Cuts(e);
  if (cuts.empty()) return Unsupported("what it takes is too long a chain of functions");
  // From the value as far back as possible, so that a function in pieces is seen as a whole.
  for (const ExprId cut : cuts) {
    TRY(const auto function, FunctionOf(e, cut));
    if (!function) continue;
    TRY(const ValueId x, ValueOf(cut));
    TRY(const ValueId y, Apply(*function, x));
    return values_[e] = y;
  }
  const RowExpressions::Piece sum = rows_[e];
  const auto is_summand = [&](ExprId operand) {
    return rows_[operand].width == sum.width && rows_[operand].base != kNoExpr;
  };
  if (sum.op == RowOp::kAdd && is_summand(sum.a) && is_summand(sum.b)) {
    TRY(const ValueId a, ValueOf(sum.a));
    TRY(const ValueId b, ValueOf(sum.b));
    return values_[e] = AddNode(OpKind::kAdd, {a, b});
  }
  return Unsupported(
      "what it takes is a function of a row that is neither a norm nor an activation known here");
}

// --- Views

bool TfliteGraphReader::IsWhole(const View& view) const {
  if (view.kind != BaseKind::kRows || view.scale != 1 || view.extent.offset != Coordinates{}) {
    return false;
  }
  bool tokens = false;
  std::vector<Atom> columns;
  for (const Atom& atom : AllAtoms(view.extent)) {
    if (atom.stride[0] != 0) {
      if (tokens || !IsTokens({atom})) return false;
      tokens = true;
    } else {
      columns.push_back(atom);
    }
  }
  if (tokens != (RowsOf(view.expr) == Rows::kTokens)) return false;
  std::sort(columns.begin(), columns.end(),
            [](const Atom& a, const Atom& b) { return a.stride[1] < b.stride[1]; });
  int64_t next = 1;
  for (const Atom& atom : columns) {
    if (atom.stride[1] != next) return false;
    next *= atom.size;
  }
  return next == rows_[view.expr].width;
}

Result<TfliteGraphReader::View> TfliteGraphReader::AsRows(const View& view) {
  switch (view.kind) {
    case BaseKind::kRows:
      return view;
    case BaseKind::kContext: {
      TRY(const std::vector<View> rows, AttentionOf({view}));
      return rows[0];
    }
    case BaseKind::kMasked: {  // rows of tokens that are there are what they were
      View rows = view;
      rows.kind = BaseKind::kRows;
      return rows;
    }
    case BaseKind::kConstant:
      return Unsupported("it takes a constant where import expects something computed");
    case BaseKind::kIds:
    case BaseKind::kOneHot:
      return Unsupported("it computes with ids");
    case BaseKind::kPositions:
      return Unsupported("it computes with positions");
    case BaseKind::kMask:
      return Unsupported("it computes with the mask in a way that import does not follow");
    case BaseKind::kScores:
    case BaseKind::kWeights:
      return Unsupported(
          "it computes with an attention's scores in a way that import does not follow");
    default:
      return Unsupported("it takes what only an output or a pooling may take");
  }
}

// The first token of each sequence as a row of its own, where a view is of that token alone.
Result<TfliteGraphReader::View> TfliteGraphReader::Narrowed(const View& view) {
  if (RowsOf(view.expr) != Rows::kTokens) return view;
  for (const Atom& atom : AllAtoms(view.extent)) {
    if (atom.stride[0] != 0) return view;
  }
  if (view.extent.offset[0] != 0) {
    return Unsupported("it takes token " + std::to_string(view.extent.offset[0]) +
                       "; a sequence is represented by its first one");
  }
  TRY(const ValueId value, ValueOf(view.expr));
  TRY(const ValueId first, FirstTokens(value));
  View row = LeafView(first, view.extent.dims);
  row.extent.offset = view.extent.offset;
  row.scale = view.scale;
  return row;
}

Result<ValueId> TfliteGraphReader::FirstTokens(ValueId value) {
  const std::string key = "first " + std::to_string(Index(value));
  if (!made_.contains(key)) {
    made_[key] = AddNode(OpKind::kPool, {value}, {}, PoolAttrs{PoolKind::kFirst});
  }
  return made_[key];
}

Result<TfliteGraphReader::View> TfliteGraphReader::StripScale(View view) {
  while (true) {
    const RowExpressions::Piece& piece = rows_[view.expr];
    const bool mul = piece.op == RowOp::kMul, div = piece.op == RowOp::kDiv;
    if (values_.contains(view.expr) || (!mul && !div)) return view;
    const std::optional<double> first = rows_.NumberOf(piece.a), second = rows_.NumberOf(piece.b);
    if (mul && first) {
      view.scale *= *first;
      view.expr = piece.b;
    } else if (second) {
      view.scale *= mul ? *second : 1 / *second;
      view.expr = piece.a;
    } else {
      return view;
    }
  }
}

Result<TfliteGraphReader::View> TfliteGraphReader::Whole(const View& view) {
  TRY(View rows, AsRows(view));
  TRY(rows, Narrowed(rows));
  if (IsWhole(rows)) return rows;
  const double scale = rows.scale;
  rows.scale = 1;
  if (!IsWhole(rows)) {
    bool tokens = false;
    Extent columns = rows.extent;
    for (Atoms& atoms : columns.dims) {
      for (const Atom& atom : atoms) {
        if (atom.stride[0] == 0) continue;
        if (!IsTokens({atom}) || tokens)
          return Unsupported("it computes with a part of the tokens");
        tokens = true;
      }
      std::erase_if(atoms, [](const Atom& atom) { return atom.stride[0] != 0; });
    }
    if (rows.extent.offset[0] != 0) return Unsupported("it computes with a part of the tokens");
    std::vector<int64_t> indices;
    int64_t count = 1;
    for (const Atoms& atoms : columns.dims) count *= SizeOf(atoms);
    TRY_VOID(Spend(count));
    ForEachElement(columns, [&](const Coordinates& at) { indices.push_back(at[1]); });
    TRY(const ValueId value, ValueOf(rows.expr));
    TRY(const ValueId part, GatherColumns({{value, indices}}));
    int64_t stride = 1;
    std::vector<Atoms> dims = rows.extent.dims;
    for (size_t d = dims.size(); d-- > 0;) {
      for (size_t a = dims[d].size(); a-- > 0;) {
        if (dims[d][a].stride[0] != 0) continue;
        dims[d][a].stride = {0, stride, 0, 0};
        stride *= dims[d][a].size;
      }
    }
    rows = LeafView(part, std::move(dims));
  }
  if (scale != 1) {
    rows.expr = rows_.Apply(RowOp::kMul, rows.expr, rows_.Constant({scale}));
  }
  return rows;
}

// --- Columns of values as values

// Rows of linears on one input, put together: what separate products of several heads are one product of.
std::optional<ValueId> TfliteGraphReader::MergedLinear(const Columns& columns) {
  std::vector<float> weight, bias, scales;
  std::vector<int8_t> codes;
  bool has_bias = false, int8 = true;
  ValueId input = kNoValue;
  for (const auto& [value, indices] : columns) {
    const auto found = nodes_.find(value);
    if (found == nodes_.end() || found->second.op != OpKind::kLinear) return std::nullopt;
    const Node& node = found->second;
    if (input == kNoValue) input = node.inputs[0];
    if (node.inputs[0] != input) return std::nullopt;
    has_bias = has_bias || node.weights.size() > 1;
    int8 = int8 && node.weights[0].tensor.dtype() == DType::kI8;
  }
  int64_t width = 0;
  for (const auto& [value, indices] : columns) {
    const Node& node = nodes_.at(value);
    const Tensor& from = node.weights[0].tensor;
    width = from.dim(1);
    const auto row_bytes = static_cast<size_t>(width);
    const std::vector<float> floats = int8 ? std::vector<float>() : from.ToFloats();
    const std::vector<float> biases =
        node.weights.size() > 1 ? node.weights[1].tensor.ToFloats() : std::vector<float>();
    for (const int64_t index : indices) {
      const auto row = static_cast<size_t>(index) * row_bytes;
      if (int8) {
        const auto* bytes = reinterpret_cast<const int8_t*>(from.data().data());
        codes.insert(codes.end(), bytes + row, bytes + row + row_bytes);
        scales.push_back(from.scales()[static_cast<size_t>(index)]);
      } else {
        weight.insert(weight.end(), floats.begin() + static_cast<std::ptrdiff_t>(row),
                      floats.begin() + static_cast<std::ptrdiff_t>(row + row_bytes));
      }
      bias.push_back(biases.empty() ? 0.0f : biases[static_cast<size_t>(index)]);
    }
  }
  const auto outputs = static_cast<int64_t>(bias.size());
  std::vector<Tensor> weights;
  if (int8) {
    auto kept = std::make_shared<std::vector<float>>(scales);
    const std::span<const float> view(*kept);
    weights.push_back(Tensor::Copy(DType::kI8, {outputs, width}, std::as_bytes(std::span(codes)))
                          .WithScales(view, std::move(kept)));
  } else {
    weights.push_back(Tensor::FromFloats({outputs, width}, weight));
  }
  if (has_bias) weights.push_back(Tensor::FromFloats({outputs}, bias));
  return AddNode(OpKind::kLinear, {input}, std::move(weights), LinearAttrs{});
}

Result<ValueId> TfliteGraphReader::GatherColumns(const Columns& columns) {
  int64_t total = 0, cost = 0;
  std::string key = "columns";
  for (const auto& [value, indices] : columns) {
    const ValueType type = builder_.type(value);
    for (const int64_t index : indices) {
      if (index < 0 || index >= type.width)
        return InvalidData("it takes a column that is not there");
      key += "," + std::to_string(index);
    }
    key += " of " + std::to_string(Index(value)) + ";";
    total += static_cast<int64_t>(indices.size());
    cost += static_cast<int64_t>(indices.size()) * type.width;
    const auto made = nodes_.find(value);
    if (made != nodes_.end() && made->second.op == OpKind::kLinear) {
      cost += static_cast<int64_t>(indices.size()) * made->second.weights[0].tensor.dim(1);
    }
  }
  const auto& [first, first_indices] = columns[0];
  bool all = columns.size() == 1 && total == builder_.type(first).width;
  for (size_t i = 0; i < first_indices.size(); ++i) {
    all = all && first_indices[i] == static_cast<int64_t>(i);
  }
  if (all) return first;
  if (made_.contains(key)) return made_[key];
  TRY_VOID(Spend(cost));
  if (const std::optional<ValueId> merged = MergedLinear(columns)) return made_[key] = *merged;
  // Of other values: each column picked by a weight of one, into its place.
  ValueId sum = kNoValue;
  int64_t at = 0;
  for (const auto& [value, indices] : columns) {
    const int64_t width = builder_.type(value).width;
    TRY_VOID(Spend(total * width));
    std::vector<float> picks(static_cast<size_t>(total * width), 0.0f);
    for (const int64_t index : indices) picks[static_cast<size_t>(at++ * width + index)] = 1;
    const ValueId part = AddNode(OpKind::kLinear, {value},
                                 {Tensor::FromFloats({total, width}, picks)}, LinearAttrs{});
    if (sum != kNoValue && builder_.type(sum) != builder_.type(part)) {
      return Unsupported("it joins rows of tokens and of sequences");
    }
    sum = sum == kNoValue ? part : AddNode(OpKind::kAdd, {sum, part});
  }
  return made_[key] = sum;
}

}  // namespace thimble
