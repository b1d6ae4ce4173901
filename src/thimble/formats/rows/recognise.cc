#include "thimble/formats/rows/recognise.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "thimble/base/random.h"
#include "thimble/graph/activation.h"

namespace thimble {
namespace {

using Kind = RowFunction::Kind;
using Row = std::vector<double>;

constexpr Activation kActivations[] = {
#define ACTIVATION(enumerator, name) Activation::enumerator,
#define ACTIVATION_ALIAS(alias, enumerator)
#include "thimble/graph/activations.inc"
#undef ACTIVATION
#undef ACTIVATION_ALIAS
};

// Constants of exporters are float32: what they compute is this close to the function itself. The two activations most
// alike, GELU and its approximation by tanh, differ by 15 times as much; the closest one wins.
constexpr double kCloseActivation = 3e-5;
constexpr double kCloseNorm = 1e-5;
// A gain or bias that was found is this close to the constant that it comes from.
constexpr double kCloseConstant = 1e-6;
// What is affine is computed without an error, but for the rounding of double precision.
constexpr double kExact = 1e-9;
// No float32 but 1 is as close to 1.
constexpr double kCloseToOne = 5e-8;

// --- Rows to evaluate on

// From -12 to 12: beyond 10, where some functions are cut.
Row Grid() {
  Row points;
  for (int i = -96; i <= 96; ++i) points.push_back(i / 8.0);
  return points;
}

Row Times(Row row, double factor) {
  for (double& x : row) x *= factor;
  return row;
}

// Of both signs, of magnitudes about `size`, with another mean for each seed.
Row SampleRow(size_t width, uint64_t seed, double size) {
  Random random(seed);
  Row row(width);
  for (double& x : row) x = size * (2 * random.Uniform() - 1 + 0.25 * static_cast<double>(seed));
  return row;
}

double Mean(const Row& row) {
  double sum = 0;
  for (const double x : row) sum += x;
  return sum / static_cast<double>(row.size());
}

double Variance(const Row& row) {
  const double mean = Mean(row);
  double sum = 0;
  for (const double x : row) sum += (x - mean) * (x - mean);
  return sum / static_cast<double>(row.size());
}

Row Normalized(Row row, double epsilon) {
  const double mean = Mean(row), deviation = std::sqrt(Variance(row) + epsilon);
  for (double& x : row) x = (x - mean) / deviation;
  return row;
}

// Not a number is as bad as can be.
double Worse(double worst, double error) {
  return std::isnan(error) ? INFINITY : std::max(worst, error);
}

// --- One function

class Recogniser {
 public:
  Recogniser(const RowExpressions& expressions, ExprId e, ExprId from)
      : expressions_(expressions),
        e_(e),
        from_(from),
        width_(static_cast<size_t>(expressions[from].width)) {
    for (const ExprId id : expressions.PiecesBetween(e, from)) {
      const RowExpressions::Piece& piece = expressions[id];
      if (piece.op == RowOp::kConstant) constants_.push_back(id);
      varies_ = varies_ || piece.values.size() > 1;
      reduces_ = reduces_ || IsReduction(piece.op);
    }
  }

  std::optional<RowFunction> Recognise() const {
    if (!varies_ && !reduces_) {  // a function of one number, whatever the column
      auto affine = Affine({Grid()});
      return affine ? affine : ActivationFunction();
    }
    std::vector<Row> rows = {SampleRow(width_, 1, 10)};
    for (const double x : {-12.0, -0.7, 3.3, 12.0}) rows.emplace_back(width_, x);
    if (auto affine = Affine(rows)) return affine;
    if (!reduces_ || width_ < 2) return std::nullopt;
    auto norm = LayerNorm();
    return norm ? norm : L2Normalize();
  }

 private:
  Row At(const Row& row) const { return expressions_.Evaluate(e_, from_, row); }

  // Bias and weight from rows of 0 and of 1.
  std::optional<RowFunction> Affine(const std::vector<Row>& rows) const {
    const size_t count = rows[0].size();
    Row bias = At(Row(count, 0)), weight = At(Row(count, 1));
    for (size_t i = 0; i < count; ++i) weight[i] -= bias[i];
    for (const Row& x : rows) {
      const Row y = At(x);
      for (size_t i = 0; i < count; ++i) {
        const double product = weight[i] * x[i];
        const double error = std::abs(y[i] - (product + bias[i]));
        if (!(error <= kExact * (std::abs(product) + std::abs(bias[i])))) return std::nullopt;
      }
    }
    bool is_identity = true;
    for (size_t i = 0; i < count; ++i) {
      is_identity = is_identity && std::abs(weight[i] - 1) <= kCloseToOne && bias[i] == 0;
    }
    if (is_identity) return RowFunction{};
    weight.resize(width_, weight[0]), bias.resize(width_, bias[0]);
    return RowFunction{.kind = Kind::kAffine,
                       .weight = Snapped(std::move(weight)),
                       .bias = Snapped(std::move(bias))};
  }

  std::optional<RowFunction> ActivationFunction() const {
    const Row x = Grid(), y = At(x);
    std::optional<RowFunction> closest;
    double least = kCloseActivation;
    for (const Activation function : kActivations) {
      double worst = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = ApplyActivation(function, x[i]);
        const double error = std::abs(y[i] - want) / std::max(1.0, std::abs(want));
        worst = Worse(worst, error);
      }
      if (!(worst < least)) continue;
      least = worst;
      closest = RowFunction{.kind = Kind::kActivation, .activation = function};
    }
    return closest;
  }

  std::optional<RowFunction> LayerNorm() const {
    RowFunction norm = WithoutEpsilon();
    const std::optional<double> epsilon = Epsilon(norm);
    if (!epsilon) return std::nullopt;
    norm.epsilon = *epsilon;
    for (const double size : {3.0, 1e-2, std::sqrt(*epsilon), 10 * std::sqrt(*epsilon)}) {
      if (size > 0 && !IsNorm(norm, SampleRow(width_, 5, size))) return std::nullopt;
    }
    norm.weight = Snapped(std::move(norm.weight.values));
    norm.bias = Snapped(std::move(norm.bias.values));
    return norm;
  }

  // Gain and bias from rows so large that what is added to the variance does not matter. The norm of -x is minus that
  // of x: the bias is half the sum of both.
  RowFunction WithoutEpsilon() const {
    constexpr double kLarge = 1e4;  // and within the range of float16, to which some models are cut
    RowFunction norm{.kind = Kind::kLayerNorm};
    norm.weight.values.resize(width_), norm.bias.values.resize(width_);
    Row largest(width_, 0);
    for (const uint64_t seed : {1, 2, 4}) {
      const Row x = SampleRow(width_, seed, kLarge), unit = Normalized(x, 0);
      const Row y = At(x), opposite = At(Times(x, -1));
      for (size_t i = 0; i < width_; ++i) {
        if (std::abs(unit[i]) <= largest[i]) continue;
        largest[i] = std::abs(unit[i]);
        norm.weight.values[i] = (y[i] - opposite[i]) / 2 / unit[i];
        norm.bias.values[i] = (y[i] + opposite[i]) / 2;
      }
    }
    return norm;
  }

  // What is added to the variance, from how much rows shrink that have little of it.
  std::optional<double> Epsilon(const RowFunction& norm) const {
    for (int exponent = 0; exponent > -20; --exponent) {
      const Row x = SampleRow(width_, 3, std::pow(10.0, exponent)), y = At(x),
                unit = Normalized(x, 0);
      double product = 0, square = 0;
      for (size_t i = 0; i < width_; ++i) {
        const double full = norm.weight.values[i] * unit[i];
        product += (y[i] - norm.bias.values[i]) * full;
        square += full * full;
      }
      const double share = product / square;
      if (!(share > 0) || !std::isfinite(share)) return std::nullopt;
      if (share <= 0.9) return SixDigits(Variance(x) * (1 / (share * share) - 1));
    }
    return 0;
  }

  bool IsNorm(const RowFunction& norm, const Row& x) const {
    const Row y = At(x), unit = Normalized(x, norm.epsilon);
    for (size_t i = 0; i < width_; ++i) {
      const double weight = norm.weight.values[i], bias = norm.bias.values[i];
      const double size = std::abs(weight) + std::abs(bias) + 1e-9;
      if (!(std::abs(y[i] - (weight * unit[i] + bias)) <= kCloseNorm * size)) return false;
    }
    return true;
  }

  std::optional<RowFunction> L2Normalize() const {
    for (const uint64_t seed : {1, 2}) {
      const Row x = SampleRow(width_, seed, 1), y = At(x);
      double squares = 0;
      for (const double value : x) squares += value * value;
      for (size_t i = 0; i < width_; ++i) {
        if (!(std::abs(y[i] - x[i] / std::sqrt(squares)) <= kCloseNorm)) return std::nullopt;
      }
    }
    return RowFunction{.kind = Kind::kL2Normalize};
  }

  // The numbers of the file where it has them, in place of those that were found.
  RowFunction::Vector Snapped(Row found) const {
    double largest = 0, nearest = kCloseConstant;
    for (const double x : found) largest = std::max(largest, std::abs(x));
    RowFunction::Vector result{std::move(found)};
    const Row& values = result.values;
    for (const ExprId id : constants_) {
      const Row constant = Spread(expressions_[id].values);
      double worst = 0;
      for (size_t i = 0; i < width_; ++i) {
        const double size = std::abs(constant[i]) + 1e-3 * largest + 1e-30;
        worst = Worse(worst, std::abs(values[i] - constant[i]) / size);
      }
      if (worst >= nearest) continue;
      nearest = worst;
      result.constant = id;
    }
    if (result.constant != kNoExpr) result.values = Spread(expressions_[result.constant].values);
    return result;
  }

  Row Spread(Row values) const {
    values.resize(width_, values[0]);
    return values;
  }

  const RowExpressions& expressions_;
  const ExprId e_, from_;
  const size_t width_;
  std::vector<ExprId> constants_;
  bool varies_ = false, reduces_ = false;
};

}  // namespace

std::optional<double> RowFunction::Factor() const {
  if (kind == Kind::kIdentity) return 1;
  if (kind != Kind::kAffine) return std::nullopt;
  const double factor = weight.values[0];
  const bool is_factor =
      std::ranges::all_of(weight.values, [&](double x) { return x == factor; }) &&
      std::ranges::all_of(bias.values, [](double x) { return x == 0; });
  return is_factor ? std::optional(factor) : std::nullopt;
}

std::optional<RowFunction> Recognise(const RowExpressions& expressions, ExprId e, ExprId from) {
  if (expressions[e].width != expressions[from].width) return std::nullopt;
  return Recogniser(expressions, e, from).Recognise();
}

double SixDigits(double x) {
  if (!(x > 0)) return 0;
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", x);
  return std::strtod(text, nullptr);
}

}  // namespace thimble
