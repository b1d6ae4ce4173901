// How a tensor of a foreign graph lies over something known: layout operations (reshape, transpose,
// split, pack, slice, ...) change only this, so that what they are spread over can be recognised whatever
// their order.
//
// A base has up to four coordinates: of a matrix the token and the column; of an attention's scores two
// tokens and two columns. Each dimension of the tensor is a list of atoms, outermost first; an atom of size
// n steps n times along the base's coordinates. Element (i, j, ...) stands at offset + sum of index *
// stride. Dimensions of size 1 have no atoms.
//
// Example: four heads of 24 columns, [1, 4, 128, 24] after a transpose: {}, {4 x column 24},
// {128 x token 1}, {24 x column 1}. Head 2 of it: {}, {}, {128 x token 1}, {24 x column 1}, offset column
// 48. The four packed again are what they were, since their offsets are evenly apart.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "thimble/graph/tensor.h"

namespace thimble {

using Coordinates = std::array<int64_t, 4>;

Coordinates operator+(const Coordinates& a, const Coordinates& b);
Coordinates operator-(const Coordinates& a, const Coordinates& b);
Coordinates operator*(const Coordinates& a, int64_t factor);

struct Atom {
  int64_t size = 1;
  Coordinates stride{};
  bool operator==(const Atom&) const = default;
};
using Atoms = std::vector<Atom>;

struct Extent {
  Coordinates offset{};
  std::vector<Atoms> dims;
  bool operator==(const Extent&) const = default;
};

int64_t SizeOf(const Atoms& atoms);
Shape ShapeOf(const Extent& extent);
// Adjacent atoms that step as one become one; atoms of size 1 go.
Atoms Merged(const Atoms& atoms);
// The atoms of all dimensions in order, merged.
Atoms AllAtoms(const Extent& extent);

// These fail (nullopt) where the result cannot be said in atoms. `shape` has as many elements as the extent.
std::optional<Extent> Reshaped(const Extent& extent, const Shape& shape);
Extent Transposed(const Extent& extent, const std::vector<size_t>& order);
// The dimension cut to [begin, begin + size * step), every step-th; inside the dimension.
std::optional<Extent> Sliced(const Extent& extent, size_t dim, int64_t begin, int64_t size,
                             int64_t step = 1);
// The parts laid one after another along a dimension that each of them has.
std::optional<Extent> Concatenated(const std::vector<Extent>& parts, size_t dim);

// The shape of an elementwise result; nullopt where the two do not go together.
std::optional<Shape> BroadcastShape(const Shape& a, const Shape& b);
// Merged atoms of `rank` dimensions, those that are missing first.
std::vector<Atoms> Aligned(const std::vector<Atoms>& dims, size_t rank);
// Dimensions of two views of the same thing: equal, or of size 1 in one of them.
std::optional<std::vector<Atoms>> CommonDims(const Extent& a, const Extent& b);

// Calls visit(coordinates) for every element, in row-major order.
template <class Visit>
void ForEachElement(const Extent& extent, Visit&& visit) {
  const Atoms atoms = AllAtoms(extent);
  std::vector<int64_t> index(atoms.size(), 0);
  Coordinates at = extent.offset;
  for (const Atom& atom : atoms) {
    if (atom.size == 0) return;
  }
  while (true) {
    visit(at);
    size_t i = atoms.size();
    for (; i > 0; --i) {
      const Atom& atom = atoms[i - 1];
      if (++index[i - 1] < atom.size) {
        at = at + atom.stride;
        break;
      }
      at = at - atom.stride * (atom.size - 1);
      index[i - 1] = 0;
    }
    if (i == 0) return;
  }
}

}  // namespace thimble
