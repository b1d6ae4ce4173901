// Rows that indices choose: tables of words, token types and positions, and parts of constants.
#include <algorithm>
#include <utility>

#include "thimble/formats/tflite/graph_reader.h"

namespace thimble {

Result<TfliteGraphReader::View> TfliteGraphReader::Lookup(const View& ids, const View& table) {
  if (ids.kind != BaseKind::kIds && ids.kind != BaseKind::kPositions) {
    return Unsupported("its indices are neither constant nor ids nor positions");
  }
  if (table.kind != BaseKind::kConstant || table.extent.dims.size() != 2) {
    return Unsupported("its table is not a constant matrix");
  }
  if (AllAtoms(ids.extent).size() != 1 || !IsTokens(AllAtoms(ids.extent)) ||
      ids.extent.offset[0] != 0) {
    return Unsupported("it looks up a part of the tokens");
  }
  const Shape shape = ShapeOf(table.extent);
  TRY_VOID(Spend(shape[0] * shape[1]));
  ValueId index = kNoValue;
  if (ids.kind == BaseKind::kPositions) {
    TRY(index, PositionsOf(ids));
    LimitLength(shape[0], positions_[static_cast<size_t>(ids.id)].attrs);
  } else {
    index = roles_[static_cast<size_t>(ids.id)] == kTokenTypeIds ? types_ : ids_;
  }
  const ValueId value =
      AddNode(OpKind::kEmbedding, {index},
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
      if (!cut) return CannotFollow();
      parts.push_back(params);
      parts.back().extent = *cut;
    }
    TRY(params, Concatenate(std::move(parts), axis));
  } else {
    const std::optional<Extent> cut =
        Sliced(params.extent, axis, numbers[0], static_cast<int64_t>(numbers.size()), step);
    if (!cut) return CannotFollow();
    params.extent = *cut;
  }
  Shape shape = ShapeOf(params.extent);
  const Shape places = ShapeOf(indices.extent);
  shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), places.begin(), places.end());
  return Reshape(std::move(params), shape);
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadOneHot(const TfliteOp& op) {
  TRY(View view, In(op, 0));
  const size_t rank = view.extent.dims.size();
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
  return view;
}

}  // namespace thimble
