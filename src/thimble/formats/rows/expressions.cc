#include "thimble/formats/rows/expressions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "thimble/graph/activation.h"

namespace thimble {
namespace {

// Constants are not counted.
constexpr size_t kMostPieces = 96;

double Reduce(RowOp op, std::span<const double> row) {
  double sum = 0;
  for (const double x : row) sum += op == RowOp::kNorm ? x * x : x;
  if (op == RowOp::kNorm) return std::sqrt(sum);
  return op == RowOp::kMean ? sum / static_cast<double>(row.size()) : sum;
}

// Of what an operation does not take, nothing.
double At(std::span<const double> row, size_t column) {
  return row.empty() ? 0 : row[row.size() == 1 ? 0 : column];
}

}  // namespace

int Operands(RowOp op) {
  constexpr int kOperands[] = {
#define ROW_OP(enumerator, operands, value) operands,
#include "thimble/formats/rows/row_ops.inc"
#undef ROW_OP
  };
  return op <= RowOp::kNorm ? 0
                            : kOperands[static_cast<int>(op) - static_cast<int>(RowOp::kNorm) - 1];
}

double Compute(RowOp op, double x, double y, double p) {
  switch (op) {
#define ROW_OP(enumerator, operands, value) \
  case RowOp::enumerator:                   \
    return value;
#include "thimble/formats/rows/row_ops.inc"
#undef ROW_OP
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

ExprId RowExpressions::Push(Piece piece) {
  pieces_.push_back(std::move(piece));
  return static_cast<ExprId>(pieces_.size() - 1);
}

ExprId RowExpressions::Base(int64_t width) {
  const ExprId id = Push({.width = width});
  pieces_.back().base = id;
  return id;
}

ExprId RowExpressions::Constant(std::vector<double> values) {
  const auto width = static_cast<int64_t>(values.size());
  if (std::ranges::all_of(values, [&](double x) { return x == values[0]; })) values.resize(1);
  return Push({.op = RowOp::kConstant, .values = std::move(values), .width = width});
}

ExprId RowExpressions::Apply(RowOp op, ExprId a, ExprId b, double parameter) {
  Piece piece{.op = op, .a = a, .b = b, .parameter = parameter};
  for (const ExprId operand : {a, b}) {
    if (operand == kNoExpr) continue;
    piece.base = std::max(piece.base, (*this)[operand].base);
    if (!IsReduction(op)) piece.width = std::max(piece.width, (*this)[operand].width);
  }
  return Push(std::move(piece));
}

std::optional<double> RowExpressions::NumberOf(ExprId e) const {
  const std::vector<double>& values = (*this)[e].values;
  return values.size() == 1 ? std::optional(values[0]) : std::nullopt;
}

std::vector<ExprId> RowExpressions::Cuts(ExprId e) const {
  // The last of what is still to be taken apart is part of nothing else there: alone, it is on every path.
  std::vector<ExprId> cuts;
  std::set<ExprId> open = {e};
  for (size_t taken = 0; !open.empty(); ++taken) {
    if (taken > kMostPieces) return {};
    const ExprId last = *open.rbegin();
    if (open.size() == 1 && last != e) cuts.push_back(last);
    open.erase(last);
    for (const ExprId operand : {(*this)[last].a, (*this)[last].b}) {
      if (operand != kNoExpr && (*this)[operand].base != kNoExpr) open.insert(operand);
    }
  }
  return {cuts.rbegin(), cuts.rend()};
}

std::vector<ExprId> RowExpressions::PiecesBetween(ExprId e, ExprId from) const {
  std::set<ExprId> found;
  std::vector<ExprId> open = {e};
  while (!open.empty()) {
    const ExprId next = open.back();
    open.pop_back();
    if (next == kNoExpr || next == from || !found.insert(next).second) continue;
    open.push_back((*this)[next].a);
    open.push_back((*this)[next].b);
  }
  return {found.begin(), found.end()};
}

std::vector<double> RowExpressions::Evaluate(ExprId e, ExprId from,
                                             std::span<const double> row) const {
  std::map<ExprId, std::vector<double>> values;
  values[from].assign(row.begin(), row.end());
  for (const ExprId id : PiecesBetween(e, from)) {
    const Piece& piece = (*this)[id];
    const std::vector<double>& x = values[piece.a];
    const std::vector<double>& y = values[piece.b];
    std::vector<double> out = piece.values;
    if (IsReduction(piece.op)) {
      out = {Reduce(piece.op, x)};
    } else if (piece.op != RowOp::kConstant) {
      out.resize(std::max(x.size(), y.size()));
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] = Compute(piece.op, At(x, i), At(y, i), piece.parameter);
      }
    }
    values[id] = std::move(out);
  }
  std::vector<double>& result = values[e];
  if (result.size() == 1) result.resize(row.size(), result[0]);
  return std::move(result);
}

}  // namespace thimble
