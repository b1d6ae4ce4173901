// Operations that move data: they change views. Only constants are ever moved in fact.
#include <algorithm>
#include <utility>

#include "thimble/formats/tflite/graph_reader.h"

namespace thimble {
namespace {

using enum tfl::BuiltinOperator;

Error CannotFollow(const char* what) {
  return Unsupported(std::string(what) +
                     " mixes tokens and columns in a way that import does not "
                     "follow");
}

int64_t ElementsOf(const Shape& shape) {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

// Row-major indices of all elements of `shape`.
template <class Visit>
void ForEachIndex(const Shape& shape, Visit&& visit) {
  std::vector<int64_t> index(shape.size(), 0);
  for (int64_t left = ElementsOf(shape); left > 0; --left) {
    visit(index);
    for (size_t i = shape.size(); i-- > 0;) {
      if (++index[i] < shape[i]) break;
      index[i] = 0;
    }
  }
}

}  // namespace

Result<TfliteGraphReader::View> TfliteGraphReader::Reshape(View view, const Shape& wanted) {
  const int64_t count = ElementsOf(ShapeOf(view.extent));
  Shape shape = wanted;
  int64_t known = 1;
  for (const int64_t size : shape) {
    if (size < -1 || (size > 0 && known > INT32_MAX / size)) {
      return InvalidData("its shape is absurd");
    }
    if (size != -1) known *= size;
  }
  const auto open = std::find(shape.begin(), shape.end(), -1);
  if (open != shape.end() && known > 0) *open = count / known;
  if (std::find(shape.begin(), shape.end(), -1) != shape.end() || ElementsOf(shape) != count) {
    return InvalidData("it makes " + ShapeText(shape).substr(0, 60) + " of " +
                       ShapeText(ShapeOf(view.extent)));
  }
  if (count == 0) return CannotFollow("it");
  const std::optional<Extent> extent = Reshaped(view.extent, shape);
  if (!extent && view.kind == BaseKind::kConstant) {
    TRY(const std::vector<double> values, ConstantValues(view));
    return FromValues(shape, values, IsWholeNumbers(view));
  }
  if (!extent) return CannotFollow("it");
  view.extent = *extent;
  return view;
}

Result<TfliteGraphReader::View> TfliteGraphReader::Broadcast(View view, const Shape& shape) {
  if (shape.size() < view.extent.dims.size())
    return InvalidData("its shape has too few dimensions");
  if (!ElementCount(shape)) return InvalidData("its shape is absurd");
  view.extent.dims.insert(view.extent.dims.begin(), shape.size() - view.extent.dims.size(), {});
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t size = SizeOf(view.extent.dims[i]);
    if (shape[i] < 1 || shape[i] > INT32_MAX || (size != 1 && size != shape[i])) {
      return InvalidData("its shape cannot be broadcast");
    }
    if (size != shape[i]) view.extent.dims[i] = {{shape[i], {}}};
  }
  return view;
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadStridedSlice(const TfliteOp& op) {
  TRY(View view, In(op, 0));
  TRY(const std::vector<int64_t> begin, Numbers(op, 1));
  TRY(const std::vector<int64_t> end, Numbers(op, 2));
  TRY(const std::vector<int64_t> step, Numbers(op, 3));
  const auto* options = op.options<tfl::StridedSliceOptions>();
  if (options == nullptr || end.size() != begin.size() || step.size() != begin.size() ||
      begin.size() > 16) {
    return InvalidData("its begins, ends and strides do not fit");
  }
  const auto has = [](int32_t mask, size_t i) { return (mask >> i & 1) != 0; };
  size_t added = 0;
  for (size_t i = 0; i < begin.size(); ++i) {
    added += has(options->new_axis_mask(), i) || has(options->ellipsis_mask(), i);
  }
  std::vector<Atoms> dims;
  size_t from = 0;  // dimension of the input
  const size_t rank = view.extent.dims.size();
  for (size_t i = 0; i < begin.size(); ++i) {
    if (has(options->ellipsis_mask(), i)) {
      const size_t rest = begin.size() - added;  // dimensions that are sliced
      if (rest > rank) return InvalidData("it slices dimensions that are not there");
      for (size_t skip = rank - rest; skip > 0 && from < rank; --skip) {
        dims.push_back(view.extent.dims[from++]);
      }
      continue;
    }
    if (has(options->new_axis_mask(), i)) {
      dims.emplace_back();
      continue;
    }
    if (from >= rank) return InvalidData("it slices dimensions that are not there");
    const int64_t size = SizeOf(view.extent.dims[from]);
    if (step[i] <= 0) return Unsupported("its stride is not positive");
    const auto inside = [&](int64_t at) {
      return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
    };
    const bool single = has(options->shrink_axis_mask(), i);
    const int64_t first = has(options->begin_mask(), i) ? 0 : inside(begin[i]);
    int64_t last = options->offset() ? begin[i] + end[i] : end[i];
    last = has(options->end_mask(), i) ? size : inside(last);
    if (single) last = first + 1;
    if (last <= first || last > size) return InvalidData("it takes nothing out of a dimension");
    const int64_t count = (last - first + step[i] - 1) / step[i];
    const std::optional<Extent> cut = Sliced(view.extent, from, first, count, step[i]);
    if (!cut) return CannotFollow("it");
    view.extent = *cut;
    if (!single) dims.push_back(view.extent.dims[from]);
    ++from;
  }
  while (from < rank) dims.push_back(view.extent.dims[from++]);
  view.extent.dims = std::move(dims);
  return view;
}

// Of rows: what is cut off at one end of the sequence and filled up at the other is a shift by tokens.
Result<TfliteGraphReader::View> TfliteGraphReader::ReadPad(const TfliteOp& op) {
  TRY(const View view, In(op, 0));
  TRY(const std::vector<int64_t> padding, Numbers(op, 1));
  const size_t rank = view.extent.dims.size();
  if (padding.size() != 2 * rank) return InvalidData("its paddings do not fit its input");
  if (HasIn(op, 2)) {
    TRY(const View filling, In(op, 2));
    if (Uniform(filling) != 0.0) return Unsupported("it pads with something else than zeros");
  }
  Shape shape = ShapeOf(view.extent);
  size_t padded = 0, dim = 0;
  for (size_t i = 0; i < rank; ++i) {
    const int64_t before = padding[2 * i], after = padding[2 * i + 1];
    if (before < 0 || after < 0) return InvalidData("it pads by a negative number");
    shape[i] += before + after;
    if (before + after > 0) ++padded, dim = i;
  }
  if (padded == 0) return view;
  if (view.kind == BaseKind::kConstant) {
    if (!ElementCount(shape)) return InvalidData("its shape is absurd");
    TRY(const std::vector<double> values, ConstantValues(view));
    int64_t count = 1;
    for (const int64_t size : shape) {
      if (size > 0 && count > budget_ / size) TRY_VOID(Spend(-1));
      count *= size;
    }
    TRY_VOID(Spend(count));
    std::vector<double> result;
    size_t next = 0;
    const Shape inner = ShapeOf(view.extent);
    ForEachIndex(shape, [&](const std::vector<int64_t>& index) {
      bool inside = true;
      for (size_t i = 0; i < rank; ++i) {
        const int64_t at = index[i] - padding[2 * i];
        inside = inside && at >= 0 && at < inner[i];
      }
      result.push_back(inside ? values[next++] : 0.0);
    });
    return FromValues(shape, result, IsWholeNumbers(view));
  }
  TRY(const View rows, AsRows(view));
  const Atoms atoms = Merged(rows.extent.dims[dim]);
  const Coordinates one_token = {1, 0, 0, 0};
  const bool tokens = atoms.size() == 1 && atoms[0].stride == one_token;
  const int64_t first = rows.extent.offset[0];
  const int64_t before = padding[2 * dim], after = padding[2 * dim + 1];
  const int64_t shift = first - before;
  // A part of the sequence, with zeros exactly where the shifted one has ended; or all of it, of which parts are taken later.
  const bool part = tokens && padded == 1 && atoms[0].size + before + after == tokens_ &&
                    before == std::max<int64_t>(0, -shift) && after == std::max<int64_t>(0, shift);
  const bool whole = tokens && padded == 1 && first == 0 && atoms[0].size == tokens_;
  if (!part && !whole) {
    return Unsupported("it pads something else than a sequence shifted by a token");
  }
  View shifted = rows;
  shifted.extent.offset[0] = 0;
  shifted.extent.dims[dim] = {{atoms[0].size + before + after, one_token}};
  shifted.kind = BaseKind::kShifted;
  shifted.id = static_cast<int>(shifted_.size());
  shifted_.emplace_back(rows.id, shift);
  return shifted;
}

Result<TfliteGraphReader::View> TfliteGraphReader::Concatenate(std::vector<View> parts,
                                                               size_t dim) {
  if (parts.empty()) return InvalidData("it has no inputs");
  const Shape first = ShapeOf(parts[0].extent);
  for (const View& part : parts) {
    Shape shape = ShapeOf(part.extent);
    if (shape.size() == first.size()) shape[dim] = first[dim];
    if (shape != first) return InvalidData("its inputs differ in shape");
  }
  std::vector<Extent> extents;
  bool alike = true, constant = true;
  for (const View& part : parts) {
    extents.push_back(part.extent);
    alike = alike && part.kind == parts[0].kind && part.id == parts[0].id &&
            part.scale == parts[0].scale && part.kind != BaseKind::kShifted;
    constant = constant && part.kind == BaseKind::kConstant;
  }
  if (alike) {
    if (const std::optional<Extent> joined = Concatenated(extents, dim)) {
      View view = parts[0];
      view.extent = *joined;
      return view;
    }
  }
  if (!constant) return ConcatenateRows(parts, dim);
  Shape shape = first;
  shape[dim] = 0;
  std::vector<std::vector<double>> values;
  bool whole_numbers = true;
  for (const View& part : parts) {
    shape[dim] += SizeOf(part.extent.dims[dim]);
    TRY(values.emplace_back(), ConstantValues(part));
    whole_numbers = whole_numbers && IsWholeNumbers(part);
  }
  const int64_t outer =
      ElementsOf({shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(dim)});
  std::vector<double> result;
  for (int64_t i = 0; i < outer; ++i) {
    for (const std::vector<double>& part : values) {
      const auto size = static_cast<std::ptrdiff_t>(part.size()) / outer;
      result.insert(result.end(), part.begin() + i * size, part.begin() + (i + 1) * size);
    }
  }
  return FromValues(shape, result, whole_numbers);
}

// Columns of several matrices side by side; a row beside its neighbours is a trigram.
Result<TfliteGraphReader::View> TfliteGraphReader::ConcatenateRows(const std::vector<View>& parts,
                                                                   size_t dim) {
  const bool heads = std::all_of(parts.begin(), parts.end(),
                                 [](const View& part) { return part.kind == BaseKind::kContext; });
  if (heads && parts.size() > 1) {  // with weights of their own
    TRY(std::vector<View> attention, AttentionOf(parts));
    return Concatenate(std::move(attention), dim);
  }
  std::vector<View> rows;
  std::vector<int64_t> shifts;
  for (const View& part : parts) {
    if (part.kind == BaseKind::kShifted) {
      View view = part;
      const auto [expression, shift] = shifted_[static_cast<size_t>(part.id)];
      view.kind = BaseKind::kRows, view.id = expression;
      shifts.push_back(shift + std::exchange(view.extent.offset[0], 0));
      if (!IsWhole(view)) return Unsupported("it joins a part of a padded sequence");
      rows.push_back(view);
    } else {
      TRY(rows.emplace_back(), AsRows(part));
      if (rows.back().scale != 1) {
        TRY(rows.back(), Whole(rows.back()));
      }
      shifts.push_back(0);
    }
  }
  std::vector<int64_t> sorted = shifts;
  std::sort(sorted.begin(), sorted.end());
  const bool shifted = sorted.front() != 0 || sorted.back() != 0;
  if (shifted) {
    bool same = sorted == std::vector<int64_t>{-1, 0, 1};
    for (const View& view : rows) {
      same = same && view.id == rows[0].id && view.extent == rows[0].extent && IsWhole(view);
    }
    if (!same) return Unsupported("it joins shifted sequences other than a token's two neighbours");
    TRY(const ValueId value, ValueOf(rows[0].id));
    const int64_t width = builder_.type(value).width;
    const ValueId trigram = AddNode(OpKind::kTrigram, {value});
    // The operation has the next token first.
    View view = LeafView(trigram, rows[0].extent.dims);
    if (shifts[1] != 0) {
      return Unsupported("it joins a token's neighbours without the token between them");
    }
    if (shifts[0] < 0) view.extent.offset[1] = 2 * width;
    view.extent.dims[dim].insert(view.extent.dims[dim].begin(), {3, {0, width * shifts[0], 0, 0}});
    view.extent.dims[dim] = Merged(view.extent.dims[dim]);
    return view;
  }
  Columns columns;
  std::vector<Extent> extents;
  int64_t at = 0;
  for (const View& view : rows) {
    TRY(const ValueId value, ValueOf(view.id));
    Extent placed = view.extent;
    placed.offset = {view.extent.offset[0], at, 0, 0};
    Extent flat = view.extent;
    for (Atoms& atoms : flat.dims) {
      std::erase_if(atoms, [](const Atom& atom) { return atom.stride[0] != 0; });
    }
    std::vector<int64_t> indices;
    ForEachElement(flat, [&](const Coordinates& c) { indices.push_back(c[1]); });
    int64_t stride = 1;
    for (size_t d = placed.dims.size(); d-- > 0;) {
      for (size_t a = placed.dims[d].size(); a-- > 0;) {
        Atom& atom = placed.dims[d][a];
        if (atom.stride[0] != 0) continue;
        atom.stride = {0, stride, 0, 0};
        stride *= atom.size;
      }
    }
    at += static_cast<int64_t>(indices.size());
    extents.push_back(std::move(placed));
    columns.emplace_back(value, std::move(indices));
  }
  TRY_VOID(Spend(at * 16));
  TRY(const ValueId value, GatherColumns(columns));
  std::optional<Extent> joined = Concatenated(extents, dim);
  bool only_columns = true;  // the dimension has all columns, which may differ in number
  for (const Extent& extent : extents) {
    for (size_t d = 0; d < extent.dims.size(); ++d) {
      for (const Atom& atom : extent.dims[d]) {
        only_columns = only_columns && (atom.stride[0] == 0) == (d == dim);
      }
    }
  }
  if (!joined && only_columns) {
    joined = extents[0];
    joined->dims[dim] = {{at, {0, 1, 0, 0}}};
  }
  if (!joined) return CannotFollow("it");
  View view = LeafView(value, joined->dims);
  view.extent.offset = joined->offset;
  return view;
}

Result<TfliteGraphReader::View> TfliteGraphReader::Lookup(const View& ids, const View& table) {
  if (ids.kind != BaseKind::kIds) return Unsupported("its indices are neither constant nor ids");
  if (table.kind != BaseKind::kConstant || table.extent.dims.size() != 2) {
    return Unsupported("its table is not a constant matrix");
  }
  if (AllAtoms(ids.extent).size() != 1 || !IsTokens(AllAtoms(ids.extent)) ||
      ids.extent.offset[0] != 0) {
    return Unsupported("it looks up a part of the tokens");
  }
  const Shape shape = ShapeOf(table.extent);
  TRY_VOID(Spend(shape[0] * shape[1]));
  const bool types = roles_[static_cast<size_t>(ids.id)] == kTokenTypeIds;
  const ValueId value =
      AddNode(OpKind::kEmbedding, {types ? types_ : ids_},
              {MatrixOf(constants_[static_cast<size_t>(table.id)], table.extent)});
  std::vector<Atoms> dims = ids.extent.dims;
  dims.push_back({{shape[1], {0, 1, 0, 0}}});
  return LeafView(value, std::move(dims));
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadGather(const TfliteOp& op) {
  const auto* options = op.options<tfl::GatherOptions>();
  if (options != nullptr && options->batch_dims() != 0) {
    return Unsupported("it gathers by batches");
  }
  TRY(View params, In(op, 0));
  TRY(const View indices, In(op, 1));
  TRY(const size_t axis, Axis(options == nullptr ? 0 : options->axis(), params.extent.dims.size()));
  if (indices.kind != BaseKind::kConstant) {
    if (axis != 0) return Unsupported("it looks up along another dimension than the first");
    return Lookup(indices, params);
  }
  TRY(std::vector<int64_t> numbers, NumbersOf(indices));
  const int64_t size = SizeOf(params.extent.dims[axis]);
  std::vector<View> parts;
  bool even = !numbers.empty();
  const int64_t step = numbers.size() > 1 ? numbers[1] - numbers[0] : 1;
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] < 0) numbers[i] += size;
    if (numbers[i] < 0 || numbers[i] >= size) return InvalidData("an index is beyond its input");
    even = even && numbers[i] == numbers[0] + static_cast<int64_t>(i) * step;
  }
  if (!even || step < 1) {
    if (params.kind != BaseKind::kConstant) return Unsupported("it reorders computed values");
    for (const int64_t number : numbers) {
      const std::optional<Extent> cut = Sliced(params.extent, axis, number, 1);
      if (!cut) return CannotFollow("it");
      parts.push_back(params);
      parts.back().extent = *cut;
    }
    TRY(params, Concatenate(std::move(parts), axis));
  } else {
    const std::optional<Extent> cut =
        Sliced(params.extent, axis, numbers[0], static_cast<int64_t>(numbers.size()), step);
    if (!cut) return CannotFollow("it");
    params.extent = *cut;
  }
  Shape shape = ShapeOf(params.extent);
  const Shape places = ShapeOf(indices.extent);
  shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), places.begin(), places.end());
  return Reshape(std::move(params), shape);
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadShapeOp(const TfliteOp& op) {
  if (op.code == SHAPE || op.code == RANK) {
    TRY(const View view, In(op, 0));
    const Shape shape = ShapeOf(view.extent);
    if (op.code == RANK) return FromValues({}, {static_cast<double>(shape.size())}, true);
    return FromValues({static_cast<int64_t>(shape.size())}, {shape.begin(), shape.end()}, true);
  }
  if (op.code == ZEROS_LIKE || op.code == FILL) {
    TRY(const View view, In(op, 0));
    Shape shape = ShapeOf(view.extent);
    double value = 0;
    bool whole = view.kind == BaseKind::kIds || IsWholeNumbers(view);
    if (op.code == FILL) {
      TRY(shape, NumbersOf(view));
      TRY(const View filling, In(op, 1));
      const std::optional<double> uniform = Uniform(filling);
      if (!uniform) return Unsupported("it fills with something else than one number");
      value = *uniform;
      whole = IsWholeNumbers(filling);
    }
    TRY(const View one, FromValues({}, {value}, whole));
    return Broadcast(one, shape);
  }
  TRY(const std::vector<int64_t> start, Numbers(op, 0));
  TRY(const std::vector<int64_t> limit, Numbers(op, 1));
  TRY(const std::vector<int64_t> delta, Numbers(op, 2));
  if (start.size() != 1 || limit.size() != 1 || delta.size() != 1 || delta[0] <= 0) {
    return Unsupported("its range does not rise");
  }
  std::vector<double> values;
  TRY_VOID(Spend(std::max<int64_t>(0, limit[0] - start[0]) / delta[0]));
  for (int64_t i = start[0]; i < limit[0]; i += delta[0]) values.push_back(static_cast<double>(i));
  return FromValues({static_cast<int64_t>(values.size())}, values, true);
}

Result<std::vector<TfliteGraphReader::View>> TfliteGraphReader::ReadLayout(const TfliteOp& op) {
  const auto one = [](Result<View> view) -> Result<std::vector<View>> {
    if (!view) return std::move(view).error();
    return std::vector<View>{*std::move(view)};
  };
  switch (op.code) {
    case SHAPE:
    case RANK:
    case RANGE:
    case FILL:
    case ZEROS_LIKE:
      return one(ReadShapeOp(op));
    case STRIDED_SLICE:
      return one(ReadStridedSlice(op));
    case PAD:
    case PADV2:
      return one(ReadPad(op));
    case GATHER:
      return one(ReadGather(op));
    case EMBEDDING_LOOKUP: {
      TRY(const View ids, In(op, 0));
      TRY(const View table, In(op, 1));
      return one(Lookup(ids, table));
    }
    default:
      break;
  }
  TRY(View view, In(op, op.code == SPLIT ? 1 : 0));
  const size_t rank = view.extent.dims.size();
  switch (op.code) {
    case RESHAPE: {
      const auto* options = op.options<tfl::ReshapeOptions>();
      if (HasIn(op, 1)) {
        TRY(const std::vector<int64_t> shape, Numbers(op, 1));
        return one(Reshape(std::move(view), shape));
      }
      if (options == nullptr || options->new_shape() == nullptr) {
        return InvalidData("it has no shape");
      }
      Shape shape;
      for (size_t i = 0; i < options->new_shape()->size(); ++i) {
        shape.push_back(flatbuffers::ReadScalar<int32_t>(options->new_shape()->Data() + 4 * i));
      }
      return one(Reshape(std::move(view), shape));
    }
    case TRANSPOSE: {
      TRY(const std::vector<int64_t> order, Numbers(op, 1));
      std::vector<size_t> checked;
      std::vector<bool> seen(rank, false);
      for (const int64_t dim : order) {
        TRY(const size_t d, Axis(dim, rank));
        if (seen[d]) return InvalidData("its order names a dimension twice");
        seen[d] = true;
        checked.push_back(d);
      }
      if (checked.size() != rank) return InvalidData("its order does not fit its input");
      view.extent = Transposed(view.extent, checked);
      return std::vector<View>{std::move(view)};
    }
    case EXPAND_DIMS: {
      TRY(const std::vector<int64_t> axis, Numbers(op, 1));
      if (axis.size() != 1) return InvalidData("it has no axis");
      TRY(const size_t dim, Axis(axis[0], rank + 1));
      view.extent.dims.insert(view.extent.dims.begin() + static_cast<std::ptrdiff_t>(dim), Atoms());
      return std::vector<View>{std::move(view)};
    }
    case SQUEEZE: {
      const auto* options = op.options<tfl::SqueezeOptions>();
      std::vector<bool> gone(rank, false);
      if (options != nullptr && options->squeeze_dims() != nullptr &&
          options->squeeze_dims()->size() > 0) {
        for (size_t i = 0; i < options->squeeze_dims()->size(); ++i) {
          const auto* at = options->squeeze_dims()->Data() + 4 * i;
          TRY(const size_t dim, Axis(flatbuffers::ReadScalar<int32_t>(at), rank));
          if (SizeOf(view.extent.dims[dim]) != 1)
            return InvalidData("it removes a dimension of many");
          gone[dim] = true;
        }
      } else {
        for (size_t i = 0; i < rank; ++i) gone[i] = SizeOf(view.extent.dims[i]) == 1;
      }
      std::vector<Atoms> dims;
      for (size_t i = 0; i < rank; ++i) {
        if (!gone[i]) dims.push_back(view.extent.dims[i]);
      }
      view.extent.dims = std::move(dims);
      return std::vector<View>{std::move(view)};
    }
    case SLICE: {
      TRY(const std::vector<int64_t> begin, Numbers(op, 1));
      TRY(const std::vector<int64_t> size, Numbers(op, 2));
      if (begin.size() != rank || size.size() != rank) return InvalidData("its slice does not fit");
      for (size_t i = 0; i < rank; ++i) {
        const int64_t all = SizeOf(view.extent.dims[i]);
        const int64_t count = size[i] == -1 ? all - begin[i] : size[i];
        if (begin[i] < 0 || count < 1 || begin[i] > all || count > all - begin[i]) {
          return InvalidData("its slice is beyond its input");
        }
        const std::optional<Extent> cut = Sliced(view.extent, i, begin[i], count);
        if (!cut) return CannotFollow("it");
        view.extent = *cut;
      }
      return std::vector<View>{std::move(view)};
    }
    case SPLIT:
    case SPLIT_V:
    case UNPACK: {
      std::vector<int64_t> axis = {0}, sizes;
      if (op.code == UNPACK) {
        const auto* options = op.options<tfl::UnpackOptions>();
        if (options != nullptr) axis[0] = options->axis();
      } else {
        TRY(axis, Numbers(op, op.code == SPLIT ? 0 : 2));
        if (axis.size() != 1) return InvalidData("it has no axis");
      }
      TRY(const size_t dim, Axis(axis[0], rank));
      const int64_t all = SizeOf(view.extent.dims[dim]);
      const auto count = static_cast<int64_t>(op.outputs.size());
      if (op.code == SPLIT_V) {
        TRY(sizes, Numbers(op, 1));
        const auto open = std::find(sizes.begin(), sizes.end(), -1);
        if (open != sizes.end()) {
          *open = 0;
          for (const int64_t size : sizes) *open += &size == &*open ? 0 : size;
          *open = all - *open;
        }
      } else {
        if (count < 1 || all % count != 0) return InvalidData("it splits unevenly");
        sizes.assign(op.outputs.size(), all / count);
      }
      std::vector<View> parts;
      int64_t begin = 0;
      for (const int64_t size : sizes) {
        if (size < 1 || size > all - begin) return InvalidData("its parts do not fit its input");
        const std::optional<Extent> cut = Sliced(view.extent, dim, begin, size);
        if (!cut) return CannotFollow("it");
        parts.push_back(view);
        parts.back().extent = *cut;
        if (op.code == UNPACK) {
          if (size != 1) return InvalidData("it unpacks into another number than there are");
          auto& dims = parts.back().extent.dims;
          dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(dim));
        }
        begin += size;
      }
      return parts;
    }
    case PACK:
    case CONCATENATION: {
      std::vector<View> parts;
      for (size_t i = 0; i < op.inputs.size(); ++i) {
        TRY(parts.emplace_back(), In(op, i));
      }
      const auto* pack = op.options<tfl::PackOptions>();
      const auto* concat = op.options<tfl::ConcatenationOptions>();
      const int64_t axis = pack != nullptr ? pack->axis() : concat != nullptr ? concat->axis() : 0;
      const bool new_dim = op.code == PACK;
      TRY(const size_t dim, Axis(axis, rank + (new_dim ? 1 : 0)));
      for (View& part : parts) {
        if (part.extent.dims.size() != rank) return InvalidData("its inputs differ in rank");
        auto& dims = part.extent.dims;
        if (new_dim) dims.insert(dims.begin() + static_cast<std::ptrdiff_t>(dim), Atoms());
      }
      TRY(View joined, Concatenate(std::move(parts), dim));
      return one(Activated(op, std::move(joined)));
    }
    case TILE: {
      TRY(const std::vector<int64_t> multiples, Numbers(op, 1));
      Shape shape = ShapeOf(view.extent);
      if (multiples.size() != rank) return InvalidData("its multiples do not fit its input");
      for (size_t i = 0; i < rank; ++i) {
        if (multiples[i] != 1 && shape[i] != 1) return Unsupported("it repeats more than one row");
        if (multiples[i] != 1) shape[i] = multiples[i];
      }
      return one(Broadcast(std::move(view), shape));
    }
    case BROADCAST_TO: {
      TRY(const std::vector<int64_t> shape, Numbers(op, 1));
      return one(Broadcast(std::move(view), shape));
    }
    case ONE_HOT: {
      TRY(const std::vector<int64_t> depth, Numbers(op, 1));
      TRY(const View on, In(op, 2));
      TRY(const View off, In(op, 3));
      const auto* options = op.options<tfl::OneHotOptions>();
      const int64_t axis = options == nullptr ? -1 : options->axis();
      if (view.kind != BaseKind::kIds || depth.size() != 1 || depth[0] < 1 || Uniform(on) != 1.0 ||
          Uniform(off) != 0.0 || (axis != -1 && axis != static_cast<int64_t>(rank))) {
        return Unsupported("it is no plain one-hot of ids");
      }
      view.kind = BaseKind::kOneHot;
      Atoms column;
      if (depth[0] != 1) column = {{depth[0], {0, 1, 0, 0}}};
      view.extent.dims.push_back(std::move(column));
      return std::vector<View>{std::move(view)};
    }
    default:
      return Unsupported("it is not read");
  }
}

}  // namespace thimble
