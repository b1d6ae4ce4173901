#include "thimble/compress/magnitude.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "thimble/train/torch.h"

namespace thimble::compress {
namespace {

// Adds the squares of a tensor's elements to the units that its rows (or columns) belong to.
void AddSquares(const Tensor& tensor, bool by_columns, std::vector<double>& squares) {
  const std::vector<float> values = tensor.ToFloats();
  const size_t columns = tensor.rank() == 2 ? static_cast<size_t>(tensor.dim(1)) : 1;
  const size_t rows = values.size() / columns;
  const size_t per_unit = (by_columns ? columns : rows) / squares.size();
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t element = by_columns ? i % columns : i / columns;
    squares[element / per_unit] += static_cast<double>(values[i]) * values[i];
  }
}

// errors[k] of a weight whose first k units are zero: the sum over their pairs of (W^T W) H.
std::vector<double> MaskedErrors(const Tensor& weight, const Structure& s, const Gram& gram,
                                 const std::vector<int64_t>& order, double& energy) {
  const std::vector<float> values = weight.ToFloats();
  const at::Tensor w =
      at::tensor(values, at::kFloat).view({weight.dim(0), weight.dim(1)}).to(at::kDouble);
  const at::Tensor h = at::from_blob(const_cast<double*>(gram.sum.data()),
                                     {gram.width, gram.width}, at::kDouble);
  const at::Tensor pairs = at::mm(w.t(), w)
                               .mul_(h)
                               .view({s.units, s.unit_width, s.units, s.unit_width})
                               .sum({1, 3})
                               .contiguous();
  const double* p = pairs.data_ptr<double>();
  energy = pairs.sum().item<double>();
  std::vector<double> errors{0};
  for (size_t k = 0; k < order.size(); ++k) {
    const double* row = p + order[k] * s.units;
    double added = row[order[k]];
    for (size_t j = 0; j < k; ++j) added += 2 * row[order[j]];
    errors.push_back(std::max(errors.back() + added, 0.0));
  }
  return errors;
}

Tensor Columns(const Tensor& weight, const std::vector<int64_t>& units, int64_t width) {
  const std::vector<float> values = weight.ToFloats();
  const auto inputs = static_cast<size_t>(weight.dim(1));
  std::vector<float> kept;
  for (size_t row = 0; row < values.size(); row += inputs) {
    for (const int64_t unit : units) {
      const auto first = values.begin() + static_cast<int64_t>(row) + unit * width;
      kept.insert(kept.end(), first, first + width);
    }
  }
  return Tensor::FromFloats({weight.dim(0), static_cast<int64_t>(units.size()) * width}, kept);
}

}  // namespace

std::vector<double> UnitNorms(const Graph& graph, const Structure& s) {
  std::vector<double> norms(static_cast<size_t>(s.units), 0.0);
  const auto add_all = [&](size_t node) {
    for (const Weight& weight : graph.nodes[node].weights) AddSquares(weight.tensor, false, norms);
  };
  for (const size_t producer : s.producers) add_all(producer);
  for (const size_t node : NodesBetween(graph, s.consumer)) add_all(node);
  AddSquares(graph.nodes[s.consumer].weights[0].tensor, true, norms);
  for (double& norm : norms) norm = std::sqrt(norm);
  return norms;
}

Result<RemovalPath> PruneByMagnitude(const Graph& graph, const Structure& s, const Gram* gram,
                                     const std::vector<int64_t>& counts) {
  if (gram != nullptr && gram->width != s.units * s.unit_width) {
    return InvalidArgument(s.name + ": moments of width " + std::to_string(gram->width) +
                           " are of another structure");
  }
  const std::vector<double> norms = UnitNorms(graph, s);
  RemovalPath path;
  path.order.resize(norms.size());
  std::iota(path.order.begin(), path.order.end(), 0);
  std::stable_sort(path.order.begin(), path.order.end(), [&](int64_t a, int64_t b) {
    return norms[static_cast<size_t>(a)] < norms[static_cast<size_t>(b)];
  });
  const Tensor& weight = graph.nodes[s.consumer].weights[0].tensor;
  if (gram != nullptr) path.errors = MaskedErrors(weight, s, *gram, path.order, path.energy);
  for (const int64_t count : counts) {
    if (count < 0 || count > s.units) {
      return InvalidArgument(s.name + ": there are " + std::to_string(s.units) + " units, not " +
                             std::to_string(count));
    }
    Snapshot snapshot{{path.order.end() - count, path.order.end()}, {}};
    std::sort(snapshot.units.begin(), snapshot.units.end());
    if (count > 0) snapshot.weight = Columns(weight, snapshot.units, s.unit_width);
    path.snapshots.push_back(std::move(snapshot));
  }
  return path;
}

}  // namespace thimble::compress
