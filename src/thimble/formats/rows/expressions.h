// What files have in pieces: functions of a matrix, row by row, made of elementwise operations, reductions of the row
// and constants. Readers of foreign formats build them while they follow the file's operations; what they are in
// our terms is told from their values (recognise.h).
//
// What else a reader knows of an expression, such as the value of the graph under construction that it is, the
// reader keeps by the expression's id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace thimble {

enum class RowOp : uint8_t {
  kBase,      // the matrix itself
  kConstant,  // a number, or one per column
  // Of a row one number:
  kMean,
  kSum,
  kNorm,  // square root of the sum of squares
// Of the numbers in each column one number:
#define ROW_OP(enumerator, operands, value) enumerator,
#include "thimble/formats/rows/row_ops.inc"
#undef ROW_OP
};

inline bool IsReduction(RowOp op) { return op >= RowOp::kMean && op <= RowOp::kNorm; }
// Numbers that an elementwise operation takes, 1 or 2; 0 where it is none.
int Operands(RowOp op);
// The value of an elementwise operation. `parameter` is the slope of kLeakyRelu; other than 0 it makes kGelu the one by tanh.
double Compute(RowOp op, double x, double y = 0, double parameter = 0);

// Index of an expression in its pool: larger than those of what it is made of.
enum class ExprId : int32_t {};
inline constexpr ExprId kNoExpr{-1};

class RowExpressions {
 public:
  struct Piece {
    RowOp op = RowOp::kBase;
    ExprId a = kNoExpr, b = kNoExpr;  // what it is made of
    double parameter = 0;             // as Compute takes it
    std::vector<double> values;       // of a constant: one if all are the same, else one per column
    ExprId base = kNoExpr;            // the matrix that it is a function of; none: of constants
    int64_t width = 1;                // 1 for reductions and what is computed of them alone
  };

  ExprId Base(int64_t width);
  ExprId Constant(std::vector<double> values);
  // Widths are equal, or one of them is 1; bases are equal, or one operand is a constant.
  ExprId Apply(RowOp op, ExprId a, ExprId b = kNoExpr, double parameter = 0);

  const Piece& operator[](ExprId e) const { return pieces_[static_cast<size_t>(e)]; }
  bool IsBase(ExprId e) const { return (*this)[e].op == RowOp::kBase; }
  // Of a constant that is the same in all columns.
  std::optional<double> NumberOf(ExprId e) const;

  // Expressions that all paths from the base to `e` pass through, the base first, `e` left out. None if `e` is made of
  // more pieces than any function that one operation computes: the work that a file can cause is bounded.
  std::vector<ExprId> Cuts(ExprId e) const;
  // All that `e` is made of down to `from`, which is left out, each after what it is made of itself.
  std::vector<ExprId> PiecesBetween(ExprId e, ExprId from) const;
  // `e` as a function of `from`, one of its cuts, on one row.
  std::vector<double> Evaluate(ExprId e, ExprId from, std::span<const double> row) const;

 private:
  ExprId Push(Piece piece);

  std::vector<Piece> pieces_;
};

}  // namespace thimble
