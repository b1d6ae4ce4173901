#include "thimble/formats/tflite/tensor_view.h"

#include <algorithm>

namespace thimble {

Coordinates operator+(const Coordinates& a, const Coordinates& b) {
  Coordinates sum{};
  for (size_t i = 0; i < sum.size(); ++i) sum[i] = a[i] + b[i];
  return sum;
}

Coordinates operator-(const Coordinates& a, const Coordinates& b) { return a + b * -1; }

Coordinates operator*(const Coordinates& a, int64_t factor) {
  Coordinates product{};
  for (size_t i = 0; i < product.size(); ++i) product[i] = a[i] * factor;
  return product;
}

int64_t SizeOf(const Atoms& atoms) {
  int64_t size = 1;
  for (const Atom& atom : atoms) size *= atom.size;
  return size;
}

Shape ShapeOf(const Extent& extent) {
  Shape shape;
  for (const Atoms& dim : extent.dims) shape.push_back(SizeOf(dim));
  return shape;
}

Atoms Merged(const Atoms& atoms) {
  Atoms merged;
  for (const Atom& atom : atoms) {
    if (atom.size == 1) continue;
    if (!merged.empty() && merged.back().stride == atom.stride * atom.size) {
      merged.back() = {merged.back().size * atom.size, atom.stride};
    } else {
      merged.push_back(atom);
    }
  }
  return merged;
}

Atoms AllAtoms(const Extent& extent) {
  Atoms all;
  for (const Atoms& dim : extent.dims) all.insert(all.end(), dim.begin(), dim.end());
  return Merged(all);
}

std::optional<Extent> Reshaped(const Extent& extent, const Shape& shape) {
  const Atoms atoms = AllAtoms(extent);
  Extent result{extent.offset, {}};
  size_t next = 0;
  Atom rest;  // of the atom before `next`, of size 1 where nothing is left
  for (const int64_t size : shape) {
    Atoms dim;
    int64_t need = size;
    while (need > 1) {
      if (rest.size == 1) {
        if (next == atoms.size()) return std::nullopt;
        rest = atoms[next++];
      }
      if (rest.size == 0) return std::nullopt;
      if (need % rest.size == 0) {
        need /= rest.size;
        dim.push_back(rest);
        rest = {};
      } else if (rest.size % need == 0) {
        dim.push_back({need, rest.stride * (rest.size / need)});
        rest.size /= need;
        need = 1;
      } else {
        return std::nullopt;
      }
    }
    result.dims.push_back(Merged(dim));
  }
  if (rest.size != 1 || next != atoms.size()) return std::nullopt;
  return result;
}

Extent Transposed(const Extent& extent, const std::vector<size_t>& order) {
  Extent result{extent.offset, {}};
  for (const size_t dim : order) result.dims.push_back(extent.dims[dim]);
  return result;
}

std::optional<Extent> Sliced(const Extent& extent, size_t dim, int64_t begin, int64_t size,
                             int64_t step) {
  const Atoms atoms = Merged(extent.dims[dim]);
  if (begin == 0 && step == 1 && size == SizeOf(atoms)) return extent;
  if (size < 1) return std::nullopt;
  Extent result = extent;
  Atoms& to = result.dims[dim];
  to.clear();
  // Outer atoms of which the range touches one index are fixed.
  size_t i = 0;
  for (; i < atoms.size(); ++i) {
    const int64_t inner = SizeOf({atoms.begin() + static_cast<std::ptrdiff_t>(i) + 1, atoms.end()});
    const int64_t first = begin / inner, last = (begin + (size - 1) * step) / inner;
    if (first == last) {
      result.offset = result.offset + atoms[i].stride * first;
      begin -= first * inner;
      continue;
    }
    if (inner == 1) {
      result.offset = result.offset + atoms[i].stride * begin;
      to.push_back({size, atoms[i].stride * step});
      return result;
    }
    if (step != 1 || begin % inner != 0 || size % inner != 0) return std::nullopt;
    result.offset = result.offset + atoms[i].stride * first;
    to.push_back({size / inner, atoms[i].stride});
    to.insert(to.end(), atoms.begin() + static_cast<std::ptrdiff_t>(i) + 1, atoms.end());
    return result;
  }
  return result;
}

std::optional<Extent> Concatenated(const std::vector<Extent>& parts, size_t dim) {
  Extent result = parts[0];
  for (Atoms& atoms : result.dims) atoms = Merged(atoms);
  if (parts.size() == 1) return result;
  const Coordinates step = parts[1].offset - parts[0].offset;
  for (size_t i = 0; i < parts.size(); ++i) {
    for (size_t d = 0; d < result.dims.size(); ++d) {
      if (Merged(parts[i].dims[d]) != result.dims[d]) return std::nullopt;
    }
    if (parts[i].offset != parts[0].offset + step * static_cast<int64_t>(i)) {
      return std::nullopt;
    }
  }
  result.dims[dim].insert(result.dims[dim].begin(), {static_cast<int64_t>(parts.size()), step});
  result.dims[dim] = Merged(result.dims[dim]);
  return result;
}

std::optional<Shape> BroadcastShape(const Shape& a, const Shape& b) {
  Shape shape(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < shape.size(); ++i) {
    const auto at = [&](const Shape& s) {
      const size_t missing = shape.size() - s.size();
      return i < missing ? int64_t{1} : s[i - missing];
    };
    if (at(a) != at(b) && at(a) != 1 && at(b) != 1) return std::nullopt;
    shape[i] = at(a) == 1 ? at(b) : at(a);
  }
  return shape;
}

std::vector<Atoms> Aligned(const std::vector<Atoms>& dims, size_t rank) {
  std::vector<Atoms> aligned(rank - std::min(rank, dims.size()));
  for (const Atoms& atoms : dims) aligned.push_back(Merged(atoms));
  return aligned;
}

std::optional<std::vector<Atoms>> CommonDims(const Extent& a, const Extent& b) {
  const size_t rank = std::max(a.dims.size(), b.dims.size());
  const std::vector<Atoms> x = Aligned(a.dims, rank), y = Aligned(b.dims, rank);
  std::vector<Atoms> dims;
  for (size_t i = 0; i < rank; ++i) {
    if (!x[i].empty() && !y[i].empty() && x[i] != y[i]) return std::nullopt;
    dims.push_back(x[i].empty() ? y[i] : x[i]);
  }
  return dims;
}

}  // namespace thimble
