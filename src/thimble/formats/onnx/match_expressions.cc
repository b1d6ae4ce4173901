// Functions of a row, recognised by their values.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "thimble/formats/onnx/expressions.h"
#include "thimble/graph/activation.h"

namespace thimble {
namespace {

constexpr Activation kActivations[] = {
#define ACTIVATION(enumerator, name) Activation::enumerator,
#define ACTIVATION_ALIAS(alias, enumerator)
#include "thimble/graph/activations.inc"
#undef ACTIVATION
#undef ACTIVATION_ALIAS
};

// Constants of exporters are float32: what they compute is this close to the function itself. The two most alike of
// ours, GELU and its approximation by tanh, differ by 50 times as much.
constexpr double kClose = 1e-5;

bool Close(double got, double want) {
  return std::abs(got - want) <= kClose * (1 + std::abs(want));
}

bool AllClose(std::span<const double> got, std::span<const double> want) {
  return std::ranges::equal(got, want, Close);
}

bool AllFinite(std::span<const double> values) {
  return std::ranges::all_of(values, [](double x) { return std::isfinite(x); });
}

// From -12 to 12: beyond 10, where some functions are cut.
std::vector<double> SamplePoints() {
  std::vector<double> points;
  for (int i = -96; i <= 96; ++i) points.push_back(i / 8.0);
  return points;
}

// Numbers that look random, of both signs, with another mean in each row.
std::vector<double> SampleRow(size_t width, uint32_t seed) {
  std::vector<double> row(width);
  uint32_t state = seed * 2654435761u + 12345;
  for (double& x : row) {
    state = state * 1664525 + 1013904223;
    x = static_cast<double>(state >> 8) * 0x1p-23 - 1 + 0.25 * seed;
  }
  return row;
}

double Mean(std::span<const double> row) {
  double sum = 0;
  for (const double x : row) sum += x;
  return sum / static_cast<double>(row.size());
}

double Variance(std::span<const double> row) {
  const double mean = Mean(row);
  double sum = 0;
  for (const double x : row) sum += (x - mean) * (x - mean);
  return sum / static_cast<double>(row.size());
}

std::vector<double> Normalized(std::vector<double> row, double epsilon) {
  const double mean = Mean(row), deviation = std::sqrt(Variance(row) + epsilon);
  for (double& x : row) x = (x - mean) / deviation;
  return row;
}

std::vector<double> Times(std::vector<double> row, double factor) {
  for (double& x : row) x *= factor;
  return row;
}

// What is added to the variance, from how much rows shrink that have little of it.
std::optional<double> FindEpsilon(const RowExpressions& pool, ExprId e, ExprId from,
                                  const RowNorm& norm) {
  const std::vector<double> row = SampleRow(norm.bias.size(), 3);
  const std::vector<double> unit = Normalized(row, 0);
  const double variance = Variance(row);
  for (double size = 1; size > 1e-12; size /= 10) {
    const std::vector<double> got = pool.Evaluate(e, from, Times(row, size));
    double product = 0, square = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      const double full = norm.gain[i] * unit[i];
      product += (got[i] - norm.bias[i]) * full;
      square += full * full;
    }
    const double share = product / square;
    if (!(share > 0) || !std::isfinite(share)) return std::nullopt;
    if (share > 0.9) continue;
    return SixDigits(variance * size * size * (1 / (share * share) - 1));
  }
  return std::nullopt;
}

}  // namespace

double SixDigits(double x) {
  if (!(x > 0)) return 0;
  const double unit = std::pow(10.0, std::floor(std::log10(x)) - 5);
  const double digits = std::round(x / unit);
  return std::strtod((std::to_string(static_cast<int64_t>(digits)) + "e" +
                      std::to_string(static_cast<int>(std::lround(std::log10(unit)))))
                         .c_str(),
                     nullptr);
}

std::optional<Activation> MatchActivation(const RowExpressions& pool, ExprId e, ExprId from) {
  const auto pieces = pool.PiecesOf(e, from);
  if (pieces.has_vectors || pieces.has_row_sums) return std::nullopt;
  const std::vector<double> points = SamplePoints();
  const std::vector<double> got = pool.Evaluate(e, from, points);
  for (const Activation activation : kActivations) {
    const bool same = std::ranges::equal(
        got, points, [&](double y, double x) { return Close(y, ApplyActivation(activation, x)); });
    if (same) return activation;
  }
  return std::nullopt;
}

std::optional<ScalarLinear> MatchScalarLinear(const RowExpressions& pool, ExprId e, ExprId from) {
  const auto pieces = pool.PiecesOf(e, from);
  if (pieces.has_vectors || pieces.has_row_sums) return std::nullopt;
  const std::vector<double> points = SamplePoints();
  const std::vector<double> got = pool.Evaluate(e, from, points);
  const size_t zero = points.size() / 2;
  ScalarLinear linear;
  linear.offset = got[zero];
  linear.factor = (got.back() - got[zero]) / points.back();
  const bool same = std::ranges::equal(
      got, points, [&](double y, double x) { return Close(y, linear.factor * x + linear.offset); });
  return same ? std::optional(linear) : std::nullopt;
}

std::optional<VectorLinear> MatchVectorLinear(const RowExpressions& pool, ExprId e, ExprId from,
                                              size_t width) {
  if (pool.PiecesOf(e, from).has_row_sums) return std::nullopt;
  VectorLinear linear;
  linear.offset = pool.Evaluate(e, from, std::vector<double>(width, 0));
  linear.factor = pool.Evaluate(e, from, std::vector<double>(width, 1));
  if (!AllFinite(linear.offset) || !AllFinite(linear.factor)) return std::nullopt;
  for (size_t i = 0; i < width; ++i) linear.factor[i] -= linear.offset[i];
  for (const uint32_t seed : {1u, 2u}) {
    const std::vector<double> row = Times(SampleRow(width, seed), 5);
    std::vector<double> want(width);
    for (size_t i = 0; i < width; ++i) want[i] = linear.factor[i] * row[i] + linear.offset[i];
    if (!AllClose(pool.Evaluate(e, from, row), want)) return std::nullopt;
  }
  return linear;
}

std::optional<RowNorm> MatchLayerNorm(const RowExpressions& pool, ExprId e, ExprId from,
                                      size_t width) {
  if (width < 2 || !pool.PiecesOf(e, from).has_row_sums) return std::nullopt;
  RowNorm norm;
  norm.bias = pool.Evaluate(e, from, std::vector<double>(width, 0));
  norm.gain.resize(width);
  // Rows so large that what is added to the variance does not matter.
  constexpr double kLarge = 1e5;
  std::vector<double> nearest(width, 0);
  for (const uint32_t seed : {1u, 2u, 4u}) {
    const std::vector<double> row = Times(SampleRow(width, seed), kLarge);
    const std::vector<double> got = pool.Evaluate(e, from, row), unit = Normalized(row, 0);
    for (size_t i = 0; i < width; ++i) {
      if (std::abs(unit[i]) <= nearest[i]) continue;
      nearest[i] = std::abs(unit[i]);
      norm.gain[i] = (got[i] - norm.bias[i]) / unit[i];
    }
  }
  if (!AllFinite(norm.bias) || !AllFinite(norm.gain)) return std::nullopt;
  const std::optional<double> epsilon = FindEpsilon(pool, e, from, norm);
  if (!epsilon) return std::nullopt;
  norm.epsilon = *epsilon;
  for (const uint32_t seed : {5u, 6u}) {
    for (const double size : {3.0, std::sqrt(norm.epsilon)}) {
      const std::vector<double> row = Times(SampleRow(width, seed), size);
      std::vector<double> want = Normalized(row, norm.epsilon);
      for (size_t i = 0; i < width; ++i) want[i] = want[i] * norm.gain[i] + norm.bias[i];
      if (!AllClose(pool.Evaluate(e, from, row), want)) return std::nullopt;
    }
  }
  return norm;
}

bool MatchL2Normalize(const RowExpressions& pool, ExprId e, ExprId from, size_t width) {
  const auto pieces = pool.PiecesOf(e, from);
  if (pieces.has_vectors || !pieces.has_row_sums) return false;
  for (const uint32_t seed : {1u, 2u}) {
    const std::vector<double> row = SampleRow(width, seed);
    double squares = 0;
    for (const double x : row) squares += x * x;
    const std::vector<double> want = Times(row, 1 / std::sqrt(squares));
    if (!AllClose(pool.Evaluate(e, from, row), want)) return false;
  }
  return true;
}

}  // namespace thimble
