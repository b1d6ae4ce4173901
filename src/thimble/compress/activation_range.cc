#include "thimble/compress/activation_range.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "thimble/formats/thimble/packed.h"
#include "thimble/runtime/session.h"

namespace thimble::compress {
namespace {

constexpr size_t kObservedTokens = 512;  // all observed values are held at once
constexpr float kLargestCode = 127;

constexpr std::pair<RangeMethod, std::string_view> kMethodNames[] = {
    {RangeMethod::kMinMax, "minmax"},
    {RangeMethod::kPercentile, "percentile"},
    {RangeMethod::kMse, "mse"},
    {RangeMethod::kEntropy, "entropy"}};

double PercentileRange(const MagnitudeHistogram& h, double percentile) {
  const double all = std::accumulate(h.counts().begin(), h.counts().end(), h.zeros());
  const double wanted = all * percentile / 100;
  double seen = h.zeros();
  for (size_t i = 0; i < h.counts().size(); ++i) {
    seen += h.counts()[i];
    if (seen >= wanted) return h.bin_width() * static_cast<double>(i + 1);
  }
  return h.largest();
}

// Of a magnitude within a bin whose codes are `step` apart up to `range`: what lies below half a step becomes 0, what is
// in between is off by a uniform error, what lies beyond is cut.
double SquaredError(double magnitude, double range, double step) {
  if (magnitude > range) return (magnitude - range) * (magnitude - range);
  return magnitude < step / 2 ? magnitude * magnitude : step * step / 12;
}

double MseRange(const MagnitudeHistogram& h) {
  constexpr size_t kCandidates = 256;
  double best = h.largest(), least = std::numeric_limits<double>::infinity();
  for (size_t c = kCandidates; c > 0; --c) {
    const double range = h.largest() * static_cast<double>(c) / kCandidates;
    double error = 0;
    for (size_t i = 0; i < h.counts().size(); ++i) {
      const double middle = h.bin_width() * (static_cast<double>(i) + 0.5);
      error += h.counts()[i] * SquaredError(middle, range, range / kLargestCode);
    }
    if (error < least) least = error, best = range;
  }
  return best;
}

// KL of the first `bins` bins, those beyond added to the last, from what is left of them after merging into levels.
double Divergence(std::span<const double> counts, size_t bins, size_t levels) {
  std::vector<double> p(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(bins));
  const double beyond =
      std::accumulate(counts.begin() + static_cast<std::ptrdiff_t>(bins), counts.end(), 0.0);
  std::vector<double> q(bins, 0.0);
  for (size_t level = 0; level < levels; ++level) {
    const size_t begin = level * bins / levels, end = (level + 1) * bins / levels;
    double sum = 0, filled = 0;
    for (size_t i = begin; i < end; ++i) {
      sum += p[i];
      filled += p[i] > 0 ? 1 : 0;
    }
    for (size_t i = begin; i < end; ++i) q[i] = p[i] > 0 ? sum / filled : 0;
  }
  p.back() += beyond;
  const double p_sum = std::accumulate(p.begin(), p.end(), 0.0);
  const double q_sum = std::accumulate(q.begin(), q.end(), 0.0);
  if (p_sum == 0 || q_sum == 0) return std::numeric_limits<double>::infinity();
  constexpr double kLeast = 1e-9;  // of a bin that only has what lay beyond
  double divergence = 0;
  for (size_t i = 0; i < bins; ++i) {
    if (p[i] == 0) continue;
    divergence += p[i] / p_sum * std::log(p[i] / p_sum / std::max(q[i] / q_sum, kLeast));
  }
  return divergence;
}

double EntropyRange(const MagnitudeHistogram& h) {
  constexpr size_t kLevels = 128, kStep = 8;
  double least = std::numeric_limits<double>::infinity();
  size_t best = MagnitudeHistogram::kBins;
  for (size_t bins = MagnitudeHistogram::kBins; bins >= kLevels; bins -= kStep) {
    const double divergence = Divergence(h.counts(), bins, kLevels);
    if (divergence < least) least = divergence, best = bins;
  }
  return h.bin_width() * static_cast<double>(best);
}

std::vector<ValueId> InputsOfLinears(const Graph& graph) {
  std::vector<ValueId> values;
  for (const Node& node : graph.nodes) {
    if (node.op != OpKind::kLinear) continue;
    if (std::find(values.begin(), values.end(), node.inputs[0]) == values.end()) {
      values.push_back(node.inputs[0]);
    }
  }
  return values;
}

// Runs the texts and shows the rows of each value, by its index.
Status VisitRows(const Model& model, std::span<const ValueId> values,
                 const std::vector<train::TrainingExample>& examples, int threads,
                 const ProgressFn& progress,
                 const std::function<void(size_t value, std::span<const float> row)>& visit) {
  Model observed = model;  // with its own outputs too, which its task may need
  std::vector<std::string> names;
  for (const ValueId value : values) {
    names.push_back("observed." + std::to_string(Index(value)));
    observed.graph.outputs.push_back({names.back(), value});
  }
  const Model packed = Packed(observed);
  TRY(Session session, Session::Create(packed.graph, {.threads = threads, .outputs = names}));
  size_t done = 0;
  return ForEachBatch(examples, kObservedTokens, [&](const Batch& batch) -> Status {
    TRY_VOID(session.Run(batch));
    for (size_t v = 0; v < values.size(); ++v) {
      const OutputView view = session.output(v);
      for (size_t r = 0; r < view.rows; ++r) visit(v, view.row(r));
    }
    done += batch.sequences();
    return progress(static_cast<double>(done) / static_cast<double>(examples.size()));
  });
}

float LargestMagnitude(std::span<const float> values) {
  float largest = 0;
  for (const float v : values) largest = std::max(largest, std::abs(v));
  return largest;
}

// The sums over rows of x and of what its codes stand for, per channel.
struct Sums {
  std::vector<double> x, rounded;
  double rows = 0;

  void Add(std::span<const float> row, float input_scale) {
    x.resize(row.size());
    rounded.resize(row.size());
    const float scale = input_scale > 0 ? input_scale : LargestMagnitude(row) / kLargestCode;
    const float factor = scale > 0 ? 1 / scale : 0;
    for (size_t i = 0; i < row.size(); ++i) {
      const float code = std::nearbyint(std::clamp(row[i] * factor, -kLargestCode, kLargestCode));
      x[i] += row[i];
      rounded[i] += static_cast<double>(code) * scale;
    }
    rows += 1;
  }
};

// W x per output, in double.
std::vector<double> Product(const Tensor& weight, std::span<const double> x) {
  const std::vector<float> w = weight.ToFloats();
  std::vector<double> y(static_cast<size_t>(weight.dim(0)), 0.0);
  for (size_t n = 0; n < y.size(); ++n) {
    for (size_t k = 0; k < x.size(); ++k) y[n] += w[n * x.size() + k] * x[k];
  }
  return y;
}

}  // namespace

std::string_view RangeMethodName(RangeMethod method) {
  return kMethodNames[static_cast<size_t>(method)].second;
}

std::optional<RangeMethod> RangeMethodFromName(std::string_view name) {
  for (const auto& [method, known] : kMethodNames) {
    if (known == name) return method;
  }
  return std::nullopt;
}

void MagnitudeHistogram::Add(std::span<const float> values) {
  const double per_unit = largest_ > 0 ? static_cast<double>(kBins) / largest_ : 0;
  for (const float v : values) {
    if (v == 0) {
      zeros_ += 1;
      continue;
    }
    const double place = std::abs(static_cast<double>(v)) * per_unit;
    counts_[std::min(kBins - 1, static_cast<size_t>(place))] += 1;
  }
}

double ChooseRange(const MagnitudeHistogram& histogram, RangeMethod method, double percentile) {
  if (histogram.largest() == 0) return 0;
  switch (method) {
    case RangeMethod::kMinMax:
      return histogram.largest();
    case RangeMethod::kPercentile:
      return PercentileRange(histogram, percentile);
    case RangeMethod::kMse:
      return MseRange(histogram);
    case RangeMethod::kEntropy:
      return EntropyRange(histogram);
  }
  return histogram.largest();
}

Result<std::vector<InputStatistics>> ObserveInputs(
    const Model& model, const std::vector<train::TrainingExample>& examples, int threads,
    const ProgressFn& progress) {
  const std::vector<ValueId> values = InputsOfLinears(model.graph);
  std::vector<InputStatistics> statistics(values.size());
  for (size_t v = 0; v < values.size(); ++v) {
    statistics[v].value = values[v];
    statistics[v].largest.resize(static_cast<size_t>(model.graph.value(values[v]).type.width));
  }
  bool finite = true;
  TRY_VOID(VisitRows(
      model, values, examples, threads, [&](double share) { return progress(share / 2); },
      [&](size_t v, std::span<const float> row) {
        for (size_t i = 0; i < row.size(); ++i) {
          finite = finite && std::isfinite(row[i]);
          statistics[v].largest[i] = std::max(statistics[v].largest[i], std::abs(row[i]));
        }
      }));
  if (!finite) {
    return InvalidData("the model computes values that are not finite on the calibration texts");
  }
  for (InputStatistics& s : statistics) {
    s.magnitudes = MagnitudeHistogram(LargestMagnitude(s.largest));
  }
  TRY_VOID(VisitRows(
      model, values, examples, threads, [&](double share) { return progress(0.5 + share / 2); },
      [&](size_t v, std::span<const float> row) { statistics[v].magnitudes.Add(row); }));
  return statistics;
}

Graph WithInputScales(const Graph& graph, std::span<const InputStatistics> statistics,
                      RangeMethod method, double percentile) {
  std::map<ValueId, double> scales;
  for (const InputStatistics& s : statistics) {
    scales[s.value] = ChooseRange(s.magnitudes, method, percentile) / kLargestCode;
  }
  Graph result = graph;
  for (Node& node : result.nodes) {
    if (node.op != OpKind::kLinear || node.weights[0].tensor.dtype() != DType::kI8) continue;
    const auto found = scales.find(node.inputs[0]);
    // As the kernels have it, so that what is stored is what is computed.
    if (found != scales.end()) node.attrs = LinearAttrs{static_cast<float>(found->second)};
  }
  return result;
}

Result<Graph> CorrectBiases(const Model& model, const Graph& quantized,
                            const std::vector<train::TrainingExample>& examples, int threads,
                            const ProgressFn& progress) {
  // Nodes that read one value by one scale share their sums.
  std::map<std::pair<ValueId, float>, size_t> places;
  std::vector<ValueId> values;
  std::vector<float> scales;
  std::vector<std::pair<size_t, size_t>> corrected;  // node, place
  for (size_t i = 0; i < quantized.nodes.size(); ++i) {
    const Node& node = quantized.nodes[i];
    if (node.op != OpKind::kLinear || !IsQuantized(node.weights[0].tensor.dtype())) continue;
    if (node.weights.size() < 2) continue;
    const auto scale = static_cast<float>(std::get<LinearAttrs>(node.attrs).input_scale);
    const auto [place, is_new] = places.try_emplace({node.inputs[0], scale}, values.size());
    if (is_new) {
      values.push_back(node.inputs[0]);
      scales.push_back(scale);
    }
    corrected.emplace_back(i, place->second);
  }
  std::vector<Sums> sums(values.size());
  TRY_VOID(VisitRows(model, values, examples, threads, progress,
                     [&](size_t v, std::span<const float> row) { sums[v].Add(row, scales[v]); }));

  Graph result = quantized;
  std::vector<std::pair<Tensor, std::vector<size_t>>> shared;  // a bias and the nodes that have it
  std::vector<std::vector<double>> changes(quantized.nodes.size());
  for (const auto& [node, place] : corrected) {
    const Sums& s = sums[place];
    std::vector<double> change = Product(model.graph.nodes[node].weights[0].tensor, s.x);
    const Tensor& weight = quantized.nodes[node].weights[0].tensor;
    const bool reads_floats = HasGroupScales(weight.dtype());
    const std::vector<double> now = Product(weight, reads_floats ? s.x : s.rounded);
    for (size_t n = 0; n < change.size(); ++n) change[n] = (change[n] - now[n]) / s.rows;
    changes[node] = std::move(change);
    const Tensor& bias = quantized.nodes[node].weights[1].tensor;
    const auto known = std::find_if(shared.begin(), shared.end(),
                                    [&](const auto& other) { return other.first.SameAs(bias); });
    if (known == shared.end()) {
      shared.push_back({bias, {node}});
    } else {
      known->second.push_back(node);
    }
  }
  for (const auto& [bias, nodes] : shared) {
    std::vector<float> b = bias.ToFloats();
    for (size_t n = 0; n < b.size(); ++n) {
      double change = 0;
      for (const size_t node : nodes) change += changes[node][n];
      b[n] = static_cast<float>(b[n] + change / static_cast<double>(nodes.size()));
    }
    const Tensor tensor = Tensor::FromFloats(bias.shape(), b);
    for (const size_t node : nodes) result.nodes[node].weights[1].tensor = tensor;
  }
  return result;
}

}  // namespace thimble::compress
