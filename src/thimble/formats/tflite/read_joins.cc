// Tensors joined along a dimension: parts of one thing, heads side by side, a row beside its neighbours.
#include <algorithm>
#include <utility>

#include "thimble/formats/tflite/graph_reader.h"

namespace thimble {

using enum tfl::BuiltinOperator;

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
            part.expr == parts[0].expr && part.scale == parts[0].scale &&
            part.kind != BaseKind::kShifted;
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
  int64_t outer = 1;
  for (size_t i = 0; i < dim; ++i) outer *= shape[i];
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
      view.kind = BaseKind::kRows;
      shifts.push_back(shifts_[static_cast<size_t>(part.id)] +
                       std::exchange(view.extent.offset[0], 0));
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
      same = same && view.expr == rows[0].expr && view.extent == rows[0].extent && IsWhole(view);
    }
    if (!same) return Unsupported("it joins shifted sequences other than a token's two neighbours");
    TRY(const ValueId value, ValueOf(rows[0].expr));
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
    TRY(const ValueId value, ValueOf(view.expr));
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
  if (!joined) return CannotFollow();
  View view = LeafView(value, joined->dims);
  view.extent.offset = joined->offset;
  return view;
}

Result<TfliteGraphReader::View> TfliteGraphReader::ReadConcatenation(const TfliteOp& op) {
  TRY(View view, In(op, 0));
  const size_t rank = view.extent.dims.size();
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
  return Activated(op, std::move(joined));
}

}  // namespace thimble
