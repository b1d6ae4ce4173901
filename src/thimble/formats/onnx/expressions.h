// What exporters write in pieces: functions of a matrix, row by row, made of elementwise operators, means over the
// row, and constants. They are recognised by what they compute, not by how they are written: an expression is
// evaluated on chosen rows, in double precision, and compared with the functions that the graph has operations for.
// So every spelling of GELU is GELU and every spelling of a LayerNorm is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/graph/ops.h"

namespace thimble {

enum class RowOp : uint8_t {
  kBase,    // the matrix itself; `index` says which
  kNumber,  // the same constant everywhere
  kVector,  // a constant per column; `index` says which
  kAdd,
  kSub,
  kMul,
  kDiv,
  kPow,
  kMax,
  kMin,
  kNeg,
  kAbs,
  kSqrt,
  kReciprocal,
  kErf,
  kExp,
  kLog,
  kTanh,
  kSigmoid,
  kSoftplus,
  kRelu,
  kLeakyRelu,  // `number` is its slope
  kRowMean,
  kRowSum,
  kRowNorm,  // square root of the sum of squares
};

// Index of an expression in its pool.
enum class ExprId : int32_t {};
inline constexpr ExprId kNoExpr{-1};

class RowExpressions {
 public:
  ExprId Base(size_t index);
  ExprId Number(double value);
  // `values` must outlive the pool's use.
  ExprId Vector(size_t index, std::span<const float> values);
  ExprId Apply(RowOp op, ExprId a, ExprId b = kNoExpr, double number = 0);

  // The base of an expression: every one made of a matrix has exactly one. Nothing for constants.
  std::optional<size_t> BaseOf(ExprId e) const { return nodes_[Index(e)].base; }
  bool IsBase(ExprId e) const { return nodes_[Index(e)].op == RowOp::kBase; }
  RowOp op(ExprId e) const { return nodes_[Index(e)].op; }
  ExprId a(ExprId e) const { return nodes_[Index(e)].a; }
  ExprId b(ExprId e) const { return nodes_[Index(e)].b; }
  double number(ExprId e) const { return nodes_[Index(e)].number; }

  // Expressions that all paths from the base to `e` pass through, the base first, `e` left out. Empty if `e` is made
  // of more than a bounded number of pieces.
  std::vector<ExprId> Cuts(ExprId e) const;

  // `e` as a function of `from`, one of its cuts, on one row.
  std::vector<double> Evaluate(ExprId e, ExprId from, std::span<const double> row) const;

  // What kind of function `e` is of `from`.
  struct Pieces {
    std::vector<size_t> vectors;  // constants per column, by their index
    bool has_vectors = false, has_row_sums = false;
  };
  Pieces PiecesOf(ExprId e, ExprId from) const;

 private:
  struct Piece {
    RowOp op;
    ExprId a = kNoExpr, b = kNoExpr;
    double number = 0;
    size_t index = 0;
    std::optional<size_t> base;
    std::span<const float> values;
  };
  static size_t Index(ExprId e) { return static_cast<size_t>(e); }
  ExprId Push(Piece piece);
  // Pieces of `e` down to `from`, which is left out, each after those it is made of; empty if too many.
  std::vector<ExprId> Order(ExprId e, ExprId from) const;

  std::vector<Piece> nodes_;
};

// As a person writes it: 1e-12, of which a float32 is not quite that.
double SixDigits(double x);

// --- Functions of a row that the graph has operations for

// The activation function that `e` is of `from`.
std::optional<Activation> MatchActivation(const RowExpressions& pool, ExprId e, ExprId from);

// y = factor x + offset, alike in all columns.
struct ScalarLinear {
  double factor = 1, offset = 0;
};
std::optional<ScalarLinear> MatchScalarLinear(const RowExpressions& pool, ExprId e, ExprId from);

struct VectorLinear {
  std::vector<double> factor, offset;
};
std::optional<VectorLinear> MatchVectorLinear(const RowExpressions& pool, ExprId e, ExprId from,
                                              size_t width);

// Mean 0 and variance 1, then gain and bias.
struct RowNorm {
  std::vector<double> gain, bias;
  double epsilon = 0;
};
std::optional<RowNorm> MatchLayerNorm(const RowExpressions& pool, ExprId e, ExprId from,
                                      size_t width);

// Each row divided by its length.
bool MatchL2Normalize(const RowExpressions& pool, ExprId e, ExprId from, size_t width);

}  // namespace thimble
