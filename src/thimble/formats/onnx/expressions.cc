#include "thimble/formats/onnx/expressions.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace thimble {
namespace {

// More pieces than any function that one operation computes.
constexpr size_t kMostPieces = 64;

double ApplyPiece(RowOp op, double a, double b, double number) {
  switch (op) {
    case RowOp::kAdd:
      return a + b;
    case RowOp::kSub:
      return a - b;
    case RowOp::kMul:
      return a * b;
    case RowOp::kDiv:
      return a / b;
    case RowOp::kPow:
      return std::pow(a, b);
    case RowOp::kMax:
      return std::max(a, b);
    case RowOp::kMin:
      return std::min(a, b);
    case RowOp::kNeg:
      return -a;
    case RowOp::kAbs:
      return std::abs(a);
    case RowOp::kSqrt:
      return std::sqrt(a);
    case RowOp::kReciprocal:
      return 1 / a;
    case RowOp::kErf:
      return std::erf(a);
    case RowOp::kExp:
      return std::exp(a);
    case RowOp::kLog:
      return std::log(a);
    case RowOp::kTanh:
      return std::tanh(a);
    case RowOp::kSigmoid:
      return 1 / (1 + std::exp(-a));
    case RowOp::kSoftplus:
      return std::max(a, 0.0) + std::log1p(std::exp(-std::abs(a)));
    case RowOp::kRelu:
      return std::max(a, 0.0);
    case RowOp::kLeakyRelu:
      return a < 0 ? number * a : a;
    default:
      return a;
  }
}

double ReduceRow(RowOp op, const std::vector<double>& row) {
  double sum = 0;
  for (const double x : row) sum += op == RowOp::kRowNorm ? x * x : x;
  if (op == RowOp::kRowNorm) return std::sqrt(sum);
  return op == RowOp::kRowMean ? sum / static_cast<double>(row.size()) : sum;
}

}  // namespace

ExprId RowExpressions::Push(Piece piece) {
  nodes_.push_back(std::move(piece));
  return static_cast<ExprId>(nodes_.size() - 1);
}

ExprId RowExpressions::Base(size_t index) {
  Piece piece{.op = RowOp::kBase, .index = index};
  piece.base = index;
  return Push(std::move(piece));
}

ExprId RowExpressions::Number(double value) {
  return Push({.op = RowOp::kNumber, .number = value});
}

ExprId RowExpressions::Vector(size_t index, std::span<const float> values) {
  Piece piece{.op = RowOp::kVector, .index = index};
  piece.values = values;
  return Push(std::move(piece));
}

ExprId RowExpressions::Apply(RowOp op, ExprId a, ExprId b, double number) {
  Piece piece{.op = op, .a = a, .b = b, .number = number};
  piece.base = BaseOf(a);
  if (b != kNoExpr && !piece.base) piece.base = BaseOf(b);
  return Push(std::move(piece));
}

std::vector<ExprId> RowExpressions::Order(ExprId e, ExprId from) const {
  // Children have smaller numbers than what is made of them.
  std::set<ExprId> found;
  std::vector<ExprId> open = {e};
  while (!open.empty()) {
    const ExprId next = open.back();
    open.pop_back();
    if (next == kNoExpr || next == from || !found.insert(next).second) continue;
    if (found.size() > kMostPieces) return {};
    open.push_back(a(next));
    open.push_back(b(next));
  }
  return {found.begin(), found.end()};
}

std::vector<ExprId> RowExpressions::Cuts(ExprId e) const {
  const std::vector<ExprId> order = Order(e, kNoExpr);
  // Paths from the base to a piece, and from there to `e`; where their product is that of all paths, none goes past.
  std::map<ExprId, double> above, below;
  for (const ExprId piece : order) {
    if (IsBase(piece)) above[piece] = 1;
    for (const ExprId child : {a(piece), b(piece)}) {
      if (child != kNoExpr) above[piece] += above[child];
    }
  }
  below[e] = 1;
  for (auto piece = order.rbegin(); piece != order.rend(); ++piece) {
    for (const ExprId child : {a(*piece), b(*piece)}) {
      if (child != kNoExpr) below[child] += below[*piece];
    }
  }
  std::vector<ExprId> cuts;
  for (const ExprId piece : order) {
    if (piece != e && above[piece] > 0 && above[piece] * below[piece] == above[e]) {
      cuts.push_back(piece);
    }
  }
  return cuts;
}

std::vector<double> RowExpressions::Evaluate(ExprId e, ExprId from,
                                             std::span<const double> row) const {
  std::map<ExprId, std::vector<double>> values;
  values[from].assign(row.begin(), row.end());
  for (const ExprId id : Order(e, from)) {
    const Piece& piece = nodes_[Index(id)];
    std::vector<double> out(row.size());
    if (piece.op == RowOp::kNumber) {
      std::ranges::fill(out, piece.number);
    } else if (piece.op == RowOp::kVector) {
      std::copy_n(piece.values.begin(), std::min(row.size(), piece.values.size()), out.begin());
    } else if (piece.op >= RowOp::kRowMean) {
      std::ranges::fill(out, ReduceRow(piece.op, values[piece.a]));
    } else if (piece.a != kNoExpr) {
      const std::vector<double>& left = values[piece.a];
      const std::vector<double>* right = piece.b == kNoExpr ? nullptr : &values[piece.b];
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] = ApplyPiece(piece.op, left[i], right == nullptr ? 0 : (*right)[i], piece.number);
      }
    }
    values[id] = std::move(out);
  }
  return values[e];
}

RowExpressions::Pieces RowExpressions::PiecesOf(ExprId e, ExprId from) const {
  Pieces pieces;
  for (const ExprId id : Order(e, from)) {
    const Piece& piece = nodes_[Index(id)];
    if (piece.op == RowOp::kVector) pieces.vectors.push_back(piece.index);
    if (piece.op >= RowOp::kRowMean) pieces.has_row_sums = true;
  }
  pieces.has_vectors = !pieces.vectors.empty();
  return pieces;
}

}  // namespace thimble
