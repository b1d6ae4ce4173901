// Operations that move data: they change views. Only constants are ever moved in fact.
#include <algorithm>
#include <utility>

#include "thimble/formats/tflite/graph_reader.h"

namespace thimble {
namespace {

using enum tfl::BuiltinOperator;

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
  if (count == 0) return CannotFollow();
  const std::optional<Extent> extent = Reshaped(view.extent, shape);
  if (!extent && view.kind == BaseKind::kConstant) {
    TRY(const std::vector<double> values, ConstantValues(view));
    return FromValues(shape, values, IsWholeNumbers(view));
  }
  if (!extent) return CannotFollow();
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
    if (!cut) return CannotFollow();
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
  shifted.id = static_cast<int>(shifts_.size());
  shifts_.push_back(shift);
  return shifted;
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

Result<TfliteGraphReader::View> TfliteGraphReader::ReadReshape(const TfliteOp& op) {
  TRY(View view, In(op, 0));
  const auto* options = op.options<tfl::ReshapeOptions>();
  if (HasIn(op, 1)) {
    TRY(const std::vector<int64_t> shape, Numbers(op, 1));
    return Reshape(std::move(view), shape);
  }
  if (options == nullptr || options->new_shape() == nullptr) {
    return InvalidData("it has no shape");
  }
  Shape shape;
  for (size_t i = 0; i < options->new_shape()->size(); ++i) {
    shape.push_back(flatbuffers::ReadScalar<int32_t>(options->new_shape()->Data() + 4 * i));
  }
  return Reshape(std::move(view), shape);
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadTranspose(const TfliteOp& op) {
  TRY(View view, In(op, 0));
  const size_t rank = view.extent.dims.size();
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
  return view;
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadExpandDims(const TfliteOp& op) {
  TRY(View view, In(op, 0));
  const size_t rank = view.extent.dims.size();
  TRY(const std::vector<int64_t> axis, Numbers(op, 1));
  if (axis.size() != 1) return InvalidData("it has no axis");
  TRY(const size_t dim, Axis(axis[0], rank + 1));
  view.extent.dims.insert(view.extent.dims.begin() + static_cast<std::ptrdiff_t>(dim), Atoms());
  return view;
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadSqueeze(const TfliteOp& op) {
  TRY(View view, In(op, 0));
  const size_t rank = view.extent.dims.size();
  const auto* options = op.options<tfl::SqueezeOptions>();
  std::vector<bool> gone(rank, false);
  if (options != nullptr && options->squeeze_dims() != nullptr &&
      options->squeeze_dims()->size() > 0) {
    for (size_t i = 0; i < options->squeeze_dims()->size(); ++i) {
      const auto* at = options->squeeze_dims()->Data() + 4 * i;
      TRY(const size_t dim, Axis(flatbuffers::ReadScalar<int32_t>(at), rank));
      if (SizeOf(view.extent.dims[dim]) != 1) return InvalidData("it removes a dimension of many");
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
  return view;
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadSlice(const TfliteOp& op) {
  TRY(View view, In(op, 0));
  const size_t rank = view.extent.dims.size();
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
    if (!cut) return CannotFollow();
    view.extent = *cut;
  }
  return view;
}

Result<std::vector<TfliteGraphReader::View>> TfliteGraphReader::ReadSplit(const TfliteOp& op) {
  TRY(View view, In(op, op.code == SPLIT ? 1 : 0));
  const size_t rank = view.extent.dims.size();
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
    if (!cut) return CannotFollow();
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

Result<TfliteGraphReader::View> TfliteGraphReader::ReadTile(const TfliteOp& op) {
  TRY(View view, In(op, 0));
  const size_t rank = view.extent.dims.size();
  TRY(const std::vector<int64_t> multiples, Numbers(op, 1));
  Shape shape = ShapeOf(view.extent);
  if (multiples.size() != rank) return InvalidData("its multiples do not fit its input");
  for (size_t i = 0; i < rank; ++i) {
    if (multiples[i] != 1 && shape[i] != 1) return Unsupported("it repeats more than one row");
    if (multiples[i] != 1) shape[i] = multiples[i];
  }
  return Broadcast(std::move(view), shape);
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
    case RESHAPE:
      return one(ReadReshape(op));
    case TRANSPOSE:
      return one(ReadTranspose(op));
    case EXPAND_DIMS:
      return one(ReadExpandDims(op));
    case SQUEEZE:
      return one(ReadSqueeze(op));
    case SLICE:
      return one(ReadSlice(op));
    case STRIDED_SLICE:
      return one(ReadStridedSlice(op));
    case SPLIT:
    case SPLIT_V:
    case UNPACK:
      return ReadSplit(op);
    case PACK:
    case CONCATENATION:
      return one(ReadConcatenation(op));
    case TILE:
      return one(ReadTile(op));
    case BROADCAST_TO: {
      TRY(View view, In(op, 0));
      TRY(const std::vector<int64_t> shape, Numbers(op, 1));
      return one(Broadcast(std::move(view), shape));
    }
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
    case ONE_HOT:
      return one(ReadOneHot(op));
    default:
      return Unsupported("it is not read");
  }
}

}  // namespace thimble
