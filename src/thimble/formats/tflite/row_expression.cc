#include "thimble/formats/tflite/row_expression.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "thimble/formats/tflite/constant.h"
#include "thimble/graph/activation.h"

namespace thimble {
namespace {

// Means and deviations of the rows that functions are told apart by. The small deviations tell the
// epsilons of norms apart, the large ones the tails of activations.
struct ProbeRow {
  double mean, deviation;
};
constexpr ProbeRow kProbes[] = {{0, 1},    {0, 3},      {1, 0.5}, {-2, 2},
                                {0, 0.05}, {0.3, 1e-3}, {0, 6},   {3, 1}};
constexpr size_t kProbeRows = std::size(kProbes);

std::vector<double> ProbeValues(size_t width) {
  std::vector<double> x;
  x.reserve(kProbeRows * width);
  uint64_t state = 0x9E3779B97F4A7C15;
  const auto uniform = [&] {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return static_cast<double>(state >> 11) * 0x1p-53;
  };
  for (const ProbeRow& row : kProbes) {
    for (size_t i = 0; i < width; ++i) {
      x.push_back(row.mean + row.deviation * (uniform() + uniform() + uniform() - 1.5) * 2);
    }
  }
  return x;
}

// 1e-12 where a file has the float nearest to it.
double ShortDecimal(double x) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.7g", x);
  return std::strtod(text, nullptr);
}

constexpr Activation kActivations[] = {
#define ACTIVATION(enumerator, name) Activation::enumerator,
#define ACTIVATION_ALIAS(alias, enumerator)
#include "thimble/graph/activations.inc"
#undef ACTIVATION
#undef ACTIVATION_ALIAS
};

}  // namespace

int RowFunctions::Add(Node node) {
  nodes_.push_back(std::move(node));
  return static_cast<int>(nodes_.size()) - 1;
}

int RowFunctions::Leaf(ValueId value, const ValueType& type) {
  const int id = static_cast<int>(nodes_.size());
  return Add(
      {.kind = Kind::kLeaf, .leaf = id, .width = type.width, .rows = type.rows, .value = value});
}

int RowFunctions::Constant(std::vector<double> values) {
  const auto width = static_cast<int64_t>(values.size());
  return Add({.kind = Kind::kConstant, .values = std::move(values), .width = width});
}

int RowFunctions::Unary(tfl::BuiltinOperator op, int a, double parameter) {
  const Node& from = (*this)[a];
  return Add({.kind = Kind::kUnary,
              .op = op,
              .a = a,
              .parameter = parameter,
              .leaf = from.leaf,
              .width = from.width,
              .rows = from.rows});
}

int RowFunctions::Binary(tfl::BuiltinOperator op, int a, int b) {
  const Node& x = (*this)[a];
  const Node& y = (*this)[b];
  return Add({.kind = Kind::kBinary,
              .op = op,
              .a = a,
              .b = b,
              .leaf = std::max(x.leaf, y.leaf),
              .width = std::max(x.width, y.width),
              .rows = x.leaf >= 0 ? x.rows : y.rows});
}

int RowFunctions::Reduce(tfl::BuiltinOperator op, int a) {
  const Node& from = (*this)[a];
  return Add(
      {.kind = Kind::kReduce, .op = op, .a = a, .leaf = from.leaf, .width = 1, .rows = from.rows});
}

std::vector<bool> RowFunctions::Reachable(int node, int from) const {
  std::vector<bool> reached(static_cast<size_t>(node) + 1, false);
  reached[static_cast<size_t>(node)] = true;
  for (int i = node; i >= 0; --i) {
    if (!reached[static_cast<size_t>(i)] || i == from) continue;
    for (const int child : {(*this)[i].a, (*this)[i].b}) {
      if (child >= 0) reached[static_cast<size_t>(child)] = true;
    }
  }
  return reached;
}

std::vector<int> RowFunctions::Cuts(int node) const {
  std::vector<int> cuts;
  std::set<int> frontier = {node};
  while (!frontier.empty()) {
    const int last = *frontier.rbegin();
    if (frontier.size() == 1 && last != node) cuts.push_back(last);
    frontier.erase(last);
    for (const int child : {(*this)[last].a, (*this)[last].b}) {
      if (child >= 0 && (*this)[child].leaf >= 0) frontier.insert(child);
    }
  }
  std::reverse(cuts.begin(), cuts.end());
  return cuts;
}

std::optional<RowFunctions::Column> RowFunctions::Evaluate(int node, int from, const Column& x,
                                                           size_t rows) const {
  const std::vector<bool> reached = Reachable(node, from);
  std::vector<Column> values(static_cast<size_t>(node) + 1);
  for (int i = 0; i <= node; ++i) {
    if (!reached[static_cast<size_t>(i)]) continue;
    const Node& n = (*this)[i];
    const auto width = static_cast<size_t>(n.width);
    Column& out = values[static_cast<size_t>(i)];
    if (i == from) {
      out = x;
      continue;
    }
    if (n.kind == Kind::kLeaf) return std::nullopt;
    out.resize(rows * width);
    const Column* a = n.a >= 0 ? &values[static_cast<size_t>(n.a)] : nullptr;
    const Column* b = n.b >= 0 ? &values[static_cast<size_t>(n.b)] : nullptr;
    const auto at = [&](const Column& column, int child, size_t r, size_t c) {
      const auto w = static_cast<size_t>((*this)[child].width);
      return column[r * w + (w == 1 ? 0 : c)];
    };
    for (size_t r = 0; r < rows; ++r) {
      if (n.kind == Kind::kReduce) {
        const auto w = static_cast<size_t>((*this)[n.a].width);
        double sum = 0;
        for (size_t c = 0; c < w; ++c) sum += (*a)[r * w + c];
        out[r] = n.op == tfl::BuiltinOperator::MEAN ? sum / static_cast<double>(w) : sum;
        continue;
      }
      for (size_t c = 0; c < width; ++c) {
        double& y = out[r * width + c];
        if (n.kind == Kind::kConstant) {
          y = n.values[c];
        } else if (n.kind == Kind::kUnary) {
          y = UnaryValue(n.op, at(*a, n.a, r, c), n.parameter).value_or(NAN);
        } else {
          y = BinaryValue(n.op, at(*a, n.a, r, c), at(*b, n.b, r, c)).value_or(NAN);
        }
      }
    }
  }
  return values[static_cast<size_t>(node)];
}

std::optional<RowFunction> RowFunctions::AsAffine(int node, int from) const {
  const auto width = static_cast<size_t>((*this)[from].width);
  Column two_rows(2 * width, 0.0);
  std::fill(two_rows.begin() + static_cast<std::ptrdiff_t>(width), two_rows.end(), 1.0);
  const auto ends = Evaluate(node, from, two_rows, 2);
  if (!ends) return std::nullopt;
  std::vector<double> weight, bias;
  for (size_t c = 0; c < width; ++c) {
    bias.push_back((*ends)[c]);
    weight.push_back((*ends)[width + c] - (*ends)[c]);
  }
  const Column x = ProbeValues(width);
  const auto y = Evaluate(node, from, x, kProbeRows);
  bool identity = true;
  for (size_t i = 0; i < x.size(); ++i) {
    const double w = weight[i % width], b = bias[i % width];
    const double error = std::abs((*y)[i] - (w * x[i] + b));
    if (!(error <= 1e-9 * (std::abs(w * x[i]) + std::abs(b) + 1e-30))) return std::nullopt;
    identity = identity && w == 1 && b == 0;
  }
  RowFunction f{.kind = identity ? RowFunction::Kind::kIdentity : RowFunction::Kind::kAffine};
  f.weight.assign(weight.begin(), weight.end());
  f.bias.assign(bias.begin(), bias.end());
  return f;
}

std::optional<RowFunction> RowFunctions::AsActivation(int node, int from) const {
  const Column x = ProbeValues(static_cast<size_t>((*this)[from].width));
  const auto y = Evaluate(node, from, x, kProbeRows);
  if (!y) return std::nullopt;
  std::optional<RowFunction> best;
  double least = 3e-5;
  for (const Activation function : kActivations) {
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = ApplyActivation(function, x[i]);
      const double error = std::abs((*y)[i] - want) / std::max(1.0, std::abs(want));
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
    if (worst < least) {
      least = worst;
      best = RowFunction{.kind = RowFunction::Kind::kActivation, .activation = function};
    }
  }
  return best;
}

// The numbers of the file where it has them, in place of those that were fitted.
std::vector<float> RowFunctions::Snapped(const std::vector<double>& fitted, int node,
                                         int from) const {
  const std::vector<bool> reached = Reachable(node, from);
  std::vector<float> result(fitted.begin(), fitted.end());
  double largest = 0, nearest = INFINITY;
  for (const double value : fitted) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < reached.size(); ++i) {
    if (!reached[i] || nodes_[i].kind != Kind::kConstant) continue;
    const std::vector<double>& values = nodes_[i].values;
    double worst = 0;
    for (size_t c = 0; c < fitted.size(); ++c) {
      worst = std::max(worst, std::abs(fitted[c] - values[values.size() == 1 ? 0 : c]));
    }
    if (worst > 1e-5 * largest || worst >= nearest) continue;
    nearest = worst;
    for (size_t c = 0; c < fitted.size(); ++c) {
      result[c] = static_cast<float>(values[values.size() == 1 ? 0 : c]);
    }
  }
  return result;
}

std::optional<RowFunction> RowFunctions::AsNorm(int node, int from) const {
  const auto width = static_cast<size_t>((*this)[from].width);
  if (width < 2) return std::nullopt;
  const std::vector<bool> reached = Reachable(node, from);
  bool reduces = false;
  std::set<double> epsilons = {0.0};
  for (size_t i = 0; i < reached.size(); ++i) {
    if (!reached[i]) continue;
    reduces = reduces || nodes_[i].kind == Kind::kReduce;
    if (nodes_[i].kind == Kind::kConstant && nodes_[i].values.size() == 1 &&
        nodes_[i].values[0] > 0 && nodes_[i].values[0] < 0.1) {
      epsilons.insert(nodes_[i].values[0]);
    }
  }
  if (!reduces) return std::nullopt;
  const Column x = ProbeValues(width);
  const auto y = Evaluate(node, from, x, kProbeRows);
  if (!y) return std::nullopt;

  std::optional<RowFunction> best;
  double least = 1e-4;
  std::vector<double> best_weight, best_bias;
  for (const double epsilon : epsilons) {
    Column h(x.size());
    for (size_t r = 0; r < kProbeRows; ++r) {
      double mean = 0, variance = 0;
      for (size_t c = 0; c < width; ++c) mean += x[r * width + c] / static_cast<double>(width);
      for (size_t c = 0; c < width; ++c) {
        const double d = x[r * width + c] - mean;
        variance += d * d / static_cast<double>(width);
      }
      const double inverse = 1 / std::sqrt(variance + epsilon);
      for (size_t c = 0; c < width; ++c) h[r * width + c] = (x[r * width + c] - mean) * inverse;
    }
    std::vector<double> weight(width), bias(width);
    double worst = 0;
    for (size_t c = 0; c < width; ++c) {
      const auto at = [&](const Column& column, size_t r) { return column[r * width + c]; };
      size_t low = 0, high = 0;
      for (size_t r = 1; r < kProbeRows; ++r) {
        if (at(h, r) < at(h, low)) low = r;
        if (at(h, r) > at(h, high)) high = r;
      }
      weight[c] = (at(*y, high) - at(*y, low)) / (at(h, high) - at(h, low));
      bias[c] = at(*y, low) - weight[c] * at(h, low);
      for (size_t r = 0; r < kProbeRows; ++r) {
        const double want = weight[c] * at(h, r) + bias[c];
        const double size = std::abs(weight[c]) + std::abs(bias[c]) + 1e-9;
        const double error = std::abs(at(*y, r) - want) / size;
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
      }
    }
    if (worst < least) {
      least = worst;
      best = RowFunction{.kind = RowFunction::Kind::kLayerNorm, .epsilon = ShortDecimal(epsilon)};
      best_weight = weight, best_bias = bias;
    }
  }
  if (best) {
    best->weight = Snapped(best_weight, node, from);
    best->bias = Snapped(best_bias, node, from);
    return best;
  }
  for (size_t r = 0; r < kProbeRows; ++r) {
    double squares = 0;
    for (size_t c = 0; c < width; ++c) squares += x[r * width + c] * x[r * width + c];
    for (size_t c = 0; c < width; ++c) {
      const double want = x[r * width + c] / std::sqrt(squares);
      if (!(std::abs((*y)[r * width + c] - want) <= 1e-4)) return std::nullopt;
    }
  }
  return RowFunction{.kind = RowFunction::Kind::kL2Normalize};
}

std::optional<RowFunction> RowFunctions::Recognise(int node, int from) const {
  if ((*this)[node].width != (*this)[from].width) return std::nullopt;
  if (auto f = AsAffine(node, from)) return f;
  if (auto f = AsActivation(node, from)) return f;
  return AsNorm(node, from);
}

}  // namespace thimble
