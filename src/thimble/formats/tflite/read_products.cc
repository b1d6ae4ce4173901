// Matrix products: with a constant they are linears, of two computed matrices the two halves of attention.
#include <algorithm>

#include "thimble/formats/tflite/graph_reader.h"

namespace thimble {
namespace {

Error NotAttention() {
  return Unsupported("it multiplies computed values in a way that is no attention");
}

constexpr Coordinates kNextToken = {1, 0, 0, 0};

}  // namespace

// x [..., inputs] times the transposed weight [outputs, inputs]; `shape` is the result's.
Result<TfliteGraphReader::View> TfliteGraphReader::LinearOf(const View& x, const View& weight,
                                                            const View* bias, const Shape& shape) {
  const Shape matrix = ShapeOf(weight.extent);
  if (matrix.size() != 2) return Unsupported("its weight is not a matrix");
  TRY_VOID(Spend(matrix[0] * matrix[1]));
  // Layers that share a weight in the file share it here.
  std::string key =
      "weight " + std::to_string(weight.id) + " " + std::to_string(weight.extent.offset[0]);
  for (const Atoms& atoms : weight.extent.dims) {
    for (const Atom& atom : atoms) {
      key += "," + std::to_string(atom.size) + "*" + std::to_string(atom.stride[0]);
    }
  }
  const TfliteConstant& constant = constants_[static_cast<size_t>(weight.id)];
  if (!shared_.contains(key)) shared_[key] = MatrixOf(constant, weight.extent);
  Tensor w = shared_[key];
  std::vector<Tensor> weights;
  ValueId y = kNoValue;
  bool per_token = true;
  if (x.kind == BaseKind::kOneHot) {
    const Atoms all = AllAtoms(x.extent);
    const bool whole = all.size() == 2 && IsTokens({all[0]}) && all[1].size == matrix[1] &&
                       all[1].stride == Coordinates{0, 1, 0, 0} && x.extent.offset == Coordinates{};
    if (!whole) return Unsupported("it looks up a part of the tokens");
    const bool types = roles_[static_cast<size_t>(x.id)] == kTokenTypeIds;
    TRY_VOID(Spend(matrix[0] * matrix[1]));
    Extent transposed = Transposed(weight.extent, {1, 0});
    y = AddNode(OpKind::kEmbedding, {types ? types_ : ids_}, {MatrixOf(constant, transposed)});
    if (bias != nullptr) return Unsupported("it adds a bias to looked up rows");
  } else {
    TRY(View rows, AsRows(x));
    TRY(rows, Narrowed(rows));
    if (rows.scale != 1) {
      TRY(rows, Whole(rows));
    }
    TRY(const ValueId value, ValueOf(rows.expr));
    const ValueType type = builder_.type(value);
    per_token = type.rows == Rows::kTokens;
    // The last dimensions are columns, in any order and not all of them; zeros stand for the others.
    Extent columns = rows.extent;
    for (Atoms& atoms : columns.dims) {
      std::erase_if(atoms, [](const Atom& atom) { return atom.stride[0] != 0; });
    }
    std::vector<size_t> index;
    int64_t count = 1;
    for (const Atoms& atoms : columns.dims) count *= SizeOf(atoms);
    const Atoms all = AllAtoms(rows.extent);
    const bool tokens_first =
        !per_token || (!all.empty() && all[0].stride == kNextToken && all[0].size == tokens_);
    if (count != matrix[1] || !tokens_first || rows.extent.offset[0] != 0) {
      return Unsupported("it multiplies something else than whole rows");
    }
    ForEachElement(columns, [&](const Coordinates& at) { index.push_back(size_t(at[1])); });
    bool plain = count == type.width;
    for (size_t i = 0; i < index.size(); ++i) plain = plain && index[i] == i;
    if (!plain) {
      TRY_VOID(Spend(matrix[0] * type.width));
      const std::vector<float> from = w.ToFloats();
      std::vector<float> to(static_cast<size_t>(matrix[0] * type.width), 0.0f);
      for (size_t i = 0; i < from.size(); ++i) {
        const size_t row = i / index.size(), column = index[i % index.size()];
        to[row * static_cast<size_t>(type.width) + column] += from[i];
      }
      w = Tensor::FromFloats({matrix[0], type.width}, to);
    }
    weights.push_back(std::move(w));
    if (bias != nullptr) {
      TRY(const std::vector<double> values, ConstantValues(*bias));
      if (static_cast<int64_t>(values.size()) != matrix[0]) {
        return InvalidData("its bias does not fit its weight");
      }
      key += " bias " + std::to_string(bias->id);
      if (!shared_.contains(key)) {
        const std::vector<float> floats(values.begin(), values.end());
        shared_[key] = Tensor::FromFloats({matrix[0]}, floats);
      }
      weights.push_back(shared_[key]);
    }
    y = AddNode(OpKind::kLinear, {value}, std::move(weights), LinearAttrs{});
  }
  std::vector<Atoms> dims;
  if (per_token) dims.push_back({{tokens_, kNextToken}});
  dims.push_back({});
  if (matrix[0] != 1) dims.back() = {{matrix[0], {0, 1, 0, 0}}};
  return Reshape(LeafView(y, std::move(dims)), shape);
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadFullyConnected(const TfliteOp& op) {
  TRY(const View x, In(op, 0));
  TRY(View weight, In(op, 1));
  const auto* options = op.options<tfl::FullyConnectedOptions>();
  if (options != nullptr && options->weights_format() != 0) {
    return Unsupported("its weights are stored shuffled");
  }
  const Shape matrix = ShapeOf(weight.extent);
  if (matrix.size() != 2 || matrix[0] < 1 || matrix[1] < 1) {
    return InvalidData("its weight is " + ShapeText(matrix).substr(0, 80) + ", not a matrix");
  }
  const Shape from = ShapeOf(x.extent);
  const auto count = static_cast<int64_t>(ElementCount(from).value_or(0));
  if (count % matrix[1] != 0 || count == 0) return InvalidData("its weight does not fit its input");
  Shape shape = {count / matrix[1], matrix[0]};
  if (options != nullptr && options->keep_num_dims()) {
    if (from.empty() || from.back() != matrix[1]) {
      return InvalidData("its weight does not fit its input");
    }
    shape = from;
    shape.back() = matrix[0];
  }
  if (weight.kind == BaseKind::kConstant) {
    if (!HasIn(op, 2)) return LinearOf(x, weight, nullptr, shape);
    TRY(const View bias, In(op, 2));
    return LinearOf(x, weight, &bias, shape);
  }
  if (HasIn(op, 2)) {
    TRY(const View bias, In(op, 2));
    if (Uniform(bias) != 0.0) return NotAttention();
  }
  TRY(View rows, Reshape(x, {count / matrix[1], matrix[1]}));
  weight.extent = Transposed(weight.extent, {1, 0});
  TRY(View product, Product(std::move(rows), std::move(weight)));
  return Reshape(std::move(product), shape);
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadBatchMatMul(const TfliteOp& op) {
  TRY(View a, In(op, 0));
  TRY(View b, In(op, 1));
  const auto* options = op.options<tfl::BatchMatMulOptions>();
  const size_t rank = std::max(a.extent.dims.size(), b.extent.dims.size());
  if (std::min(a.extent.dims.size(), b.extent.dims.size()) < 2) {
    return InvalidData("its inputs are no matrices");
  }
  for (View* view : {&a, &b}) {
    auto& dims = view->extent.dims;
    dims.insert(dims.begin(), rank - dims.size(), Atoms());
  }
  if (options != nullptr && options->adj_x())
    std::swap(a.extent.dims[rank - 1], a.extent.dims[rank - 2]);
  if (options != nullptr && options->adj_y())
    std::swap(b.extent.dims[rank - 1], b.extent.dims[rank - 2]);
  const Shape x = ShapeOf(a.extent), y = ShapeOf(b.extent);
  if (x[rank - 1] != y[rank - 2]) return InvalidData("its inputs do not fit each other");
  if (b.kind != BaseKind::kConstant) return Product(std::move(a), std::move(b));
  for (size_t i = 0; i + 2 < rank; ++i) {
    if (y[i] != 1) return Unsupported("it multiplies by several constant matrices");
  }
  b.extent.dims = {b.extent.dims[rank - 1], b.extent.dims[rank - 2]};
  Shape shape = x;
  shape.back() = y.back();
  return LinearOf(a, b, nullptr, shape);
}

// a [..., m, k] times b [..., k, n], both computed.
Result<TfliteGraphReader::View> TfliteGraphReader::Product(View a, View b) {
  if (a.kind == BaseKind::kWeights || b.kind == BaseKind::kWeights) return ContextOf(a, b);
  TRY(a, AsRows(a));
  TRY(b, AsRows(b));
  TRY(a, StripScale(a));
  TRY(b, StripScale(b));
  return ScoresOf(a, b);
}

// Dimensions before the last two, one index for both: strides go to {-, -, a, b}, from the coordinates named.
Result<std::vector<Atoms>> TfliteGraphReader::BatchAtoms(const View& a, const View& b,
                                                         size_t a_coordinate,
                                                         size_t b_coordinate) const {
  std::vector<Atoms> dims;
  for (size_t i = 0; i + 2 < a.extent.dims.size(); ++i) {
    const Atoms x = Merged(a.extent.dims[i]), y = Merged(b.extent.dims[i]);
    const size_t count = std::max(x.size(), y.size());
    if ((!x.empty() && x.size() != count) || (!y.empty() && y.size() != count)) {
      return NotAttention();
    }
    Atoms atoms;
    for (size_t k = 0; k < count; ++k) {
      Atom atom;
      atom.size = x.empty() ? y[k].size : x[k].size;
      if (!y.empty() && y[k].size != atom.size) return NotAttention();
      if (!x.empty()) atom.stride[2] = x[k].stride[a_coordinate];
      if (!y.empty()) atom.stride[3] = y[k].stride[b_coordinate];
      const bool token = (!x.empty() && x[k].stride[0] != 0) || (!y.empty() && y[k].stride[0] != 0);
      if (token) return NotAttention();
      atoms.push_back(atom);
    }
    dims.push_back(std::move(atoms));
  }
  return dims;
}

Result<TfliteGraphReader::View> TfliteGraphReader::ScoresOf(const View& a, const View& b) {
  const size_t rank = a.extent.dims.size();
  if (b.extent.dims.size() != rank || rank < 2) return NotAttention();
  const Atoms a_depth = Merged(a.extent.dims[rank - 1]), b_depth = Merged(b.extent.dims[rank - 2]);
  bool fits = IsTokens(Merged(a.extent.dims[rank - 2])) &&
              IsTokens(Merged(b.extent.dims[rank - 1])) && a_depth.size() == b_depth.size() &&
              a.extent.offset[0] == 0 && b.extent.offset[0] == 0;
  for (size_t i = 0; fits && i < a_depth.size(); ++i) {
    fits = a_depth[i].size == b_depth[i].size && a_depth[i].stride[0] == 0 &&
           b_depth[i].stride[0] == 0;
  }
  if (!fits) return NotAttention();
  Scores scores{.q_depth = a_depth, .k_depth = b_depth, .scale = a.scale * b.scale};
  TRY(scores.q, ValueOf(a.expr));
  TRY(scores.k, ValueOf(b.expr));
  View view{.kind = BaseKind::kScores};
  const auto known = std::find(scores_.begin(), scores_.end(), scores);
  view.id = static_cast<int>(known - scores_.begin());
  if (known == scores_.end()) scores_.push_back(scores);
  view.extent.offset = {0, 0, a.extent.offset[1], b.extent.offset[1]};
  TRY(view.extent.dims, BatchAtoms(a, b, 1, 1));
  view.extent.dims.push_back({{tokens_, {1, 0, 0, 0}}});
  view.extent.dims.push_back({{tokens_, {0, 1, 0, 0}}});
  return view;
}

Result<TfliteGraphReader::View> TfliteGraphReader::ContextOf(const View& a, const View& b) {
  const bool weights_first = a.kind == BaseKind::kWeights;
  const View& weights = weights_first ? a : b;
  if (a.kind == b.kind) return NotAttention();
  TRY(View values, AsRows(weights_first ? b : a));
  const size_t rank = a.extent.dims.size();
  if (values.extent.dims.size() != rank || weights.extent.dims.size() != rank || rank < 2) {
    return NotAttention();
  }
  // Of the weights [query, key] or transposed, of the values [key, column] or transposed.
  const size_t row = rank - 2, column = rank - 1;
  const Atoms query = Merged(weights.extent.dims[weights_first ? row : column]);
  const Atoms key = Merged(weights.extent.dims[weights_first ? column : row]);
  const Atoms token = Merged(values.extent.dims[weights_first ? row : column]);
  Atoms depth = Merged(values.extent.dims[weights_first ? column : row]);
  if (!IsTokens(query, 0) || !IsTokens(key, 1) || !IsTokens(token) ||
      values.extent.offset[0] != 0) {
    return NotAttention();
  }
  for (Atom& atom : depth) {
    if (atom.stride[0] != 0) return NotAttention();
    atom.stride = {0, 0, 0, atom.stride[1]};
  }
  Context context{.scores = weights.id};
  TRY(context.v, ValueOf(values.expr));
  View view{.kind = BaseKind::kContext, .scale = values.scale};
  const auto known = std::find(contexts_.begin(), contexts_.end(), context);
  view.id = static_cast<int>(known - contexts_.begin());
  if (known == contexts_.end()) contexts_.push_back(context);
  view.extent.offset = {0, weights.extent.offset[2], weights.extent.offset[3],
                        values.extent.offset[1]};
  for (size_t i = 0; i < row; ++i) {
    const Atoms w = Merged(weights.extent.dims[i]), v = Merged(values.extent.dims[i]);
    if (w.size() != v.size() && !w.empty() && !v.empty()) return NotAttention();
    Atoms atoms;
    for (size_t k = 0; k < std::max(w.size(), v.size()); ++k) {
      Atom atom{.size = w.empty() ? v[k].size : w[k].size};
      if (!v.empty() && (v[k].size != atom.size || v[k].stride[0] != 0)) return NotAttention();
      if (!w.empty()) atom.stride = {0, w[k].stride[2], w[k].stride[3], 0};
      if (!v.empty()) atom.stride[3] = v[k].stride[1];
      atoms.push_back(atom);
    }
    view.extent.dims.push_back(std::move(atoms));
  }
  Atoms queries = {{tokens_, kNextToken}};
  view.extent.dims.push_back(weights_first ? queries : depth);
  view.extent.dims.push_back(weights_first ? depth : queries);
  return view;
}

// Columns of the three inputs that the heads of a view read, heads in the order of the values' columns.
Result<TfliteGraphReader::Heads> TfliteGraphReader::HeadsOf(const View& view) {
  const Context context = contexts_[static_cast<size_t>(view.id)];
  const Scores scores = scores_[static_cast<size_t>(context.scores)];
  Heads heads{.scale = scores.scale};
  for (const Atom& atom : AllAtoms(view.extent)) {
    if (atom.stride[0] != 0) {
      if (!IsTokens({atom})) return NotAttention();
    } else {
      (atom.stride[1] != 0 || atom.stride[2] != 0 ? heads.heads : heads.depth).push_back(atom);
    }
  }
  std::stable_sort(heads.heads.begin(), heads.heads.end(), [](const Atom& a, const Atom& b) {
    return std::max(a.stride[3], a.stride[1]) > std::max(b.stride[3], b.stride[1]);
  });
  const auto offsets = [](const Atoms& atoms) {
    std::vector<Coordinates> list;
    ForEachElement(Extent{.dims = {atoms}}, [&](const Coordinates& at) { list.push_back(at); });
    return list;
  };
  const int64_t work = SizeOf(heads.heads) * (SizeOf(heads.depth) + SizeOf(scores.q_depth));
  TRY_VOID(Spend(4 * work));
  std::vector<int64_t> q, k, v;
  for (const Coordinates& head : offsets(heads.heads)) {
    const Coordinates at = view.extent.offset + head;
    for (const Coordinates& d : offsets(scores.q_depth)) q.push_back(at[1] + d[1]);
    for (const Coordinates& d : offsets(scores.k_depth)) k.push_back(at[2] + d[1]);
    for (const Coordinates& d : offsets(heads.depth)) v.push_back(at[3] + d[3]);
  }
  heads.q = {scores.q, std::move(q)};
  heads.k = {scores.k, std::move(k)};
  heads.v = {context.v, std::move(v)};
  return heads;
}

// The elements of a view over the columns of an attention's result, its first head at `column`.
Result<TfliteGraphReader::View> TfliteGraphReader::Placed(const View& view, const Heads& heads,
                                                          ValueId attention, int64_t column) {
  std::vector<std::pair<Atom, int64_t>> placed;
  int64_t stride = SizeOf(heads.depth) * SizeOf(heads.heads);
  for (const Atom& atom : heads.heads) placed.emplace_back(atom, stride /= atom.size);
  stride = SizeOf(heads.depth);
  for (const Atom& atom : heads.depth) placed.emplace_back(atom, stride /= atom.size);
  View rows = LeafView(attention, view.extent.dims);
  rows.scale = view.scale;
  rows.extent.offset = {0, column, 0, 0};
  for (Atoms& atoms : rows.extent.dims) {
    for (Atom& atom : atoms) {
      if (atom.stride[0] != 0) continue;
      // The atom is one of the merged ones, or a part of it that steps further.
      bool found = false;
      for (const auto& [original, to] : placed) {
        for (int64_t factor = 1; factor <= original.size && !found; ++factor) {
          found = original.size % factor == 0 && atom.stride == original.stride * factor &&
                  atom.size * factor <= original.size;
          if (found) atom.stride = {0, to * factor, 0, 0};
        }
        if (found) break;
      }
      if (!found) return NotAttention();
    }
  }
  return rows;
}

// The attentions that views cover, as one: rows of its result.
Result<std::vector<TfliteGraphReader::View>> TfliteGraphReader::AttentionOf(
    const std::vector<View>& views) {
  std::vector<Heads> heads;
  Columns q, k, v;
  int64_t count = 0;
  for (const View& view : views) {
    TRY(Heads of, HeadsOf(view));
    q.push_back(of.q), k.push_back(of.k), v.push_back(of.v);
    count += SizeOf(of.heads);
    heads.push_back(std::move(of));
    if (heads.back().scale != heads[0].scale ||
        q.back().second.size() * size_t(SizeOf(heads[0].heads)) !=
            q[0].second.size() * size_t(SizeOf(heads.back().heads)) ||
        SizeOf(heads.back().depth) != SizeOf(heads[0].depth)) {
      return Unsupported("it joins heads that differ");
    }
  }
  std::string key = "attention";
  for (const Columns* columns : {&q, &k, &v}) {
    for (const auto& [value, list] : *columns) {
      key += " " + std::to_string(Index(value)) + ":";
      for (const int64_t column : list) key += std::to_string(column) + ",";
    }
  }
  if (!made_.contains(key)) {
    TRY(const ValueId queries, GatherColumns(q));
    TRY(const ValueId keys, GatherColumns(k));
    TRY(const ValueId values, GatherColumns(v));
    made_[key] = AddNode(OpKind::kAttention, {queries, keys, values}, {},
                         AttentionAttrs{count, heads[0].scale});
  }
  std::vector<View> rows;
  int64_t column = 0;
  for (size_t i = 0; i < views.size(); ++i) {
    TRY(rows.emplace_back(), Placed(views[i], heads[i], made_[key], column));
    column += SizeOf(heads[i].heads) * SizeOf(heads[i].depth);
  }
  return rows;
}

}  // namespace thimble
