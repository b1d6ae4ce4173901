// Functions of a row that the graph has operations for, recognised by what they compute, not by how they are written:
// an expression is evaluated on chosen rows, in double precision, and compared. So every spelling of GELU is GELU and
// every spelling of a LayerNorm is one.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "thimble/formats/rows/expressions.h"
#include "thimble/graph/ops.h"

namespace thimble {

// A row x to a row of the same width.
struct RowFunction {
  enum class Kind : uint8_t { kIdentity, kAffine, kActivation, kLayerNorm, kL2Normalize };
  // One number per column: those of `constant` to the bit, where a constant of the expression is what was found.
  struct Vector {
    std::vector<double> values;
    ExprId constant = kNoExpr;
  };
  Kind kind = Kind::kIdentity;
  Vector weight, bias;                            // kAffine, kLayerNorm
  Activation activation = Activation::kIdentity;  // kActivation
  double epsilon = 0;                             // kLayerNorm

  // What all columns are multiplied by, where that is all that is done.
  std::optional<double> Factor() const;
};

// What `e` is as a function of `from`, one of its cuts.
std::optional<RowFunction> Recognise(const RowExpressions& expressions, ExprId e, ExprId from);

// As a person writes it: 1e-12, of which a float32 is not quite that.
double SixDigits(double x);

}  // namespace thimble
