#include "thimble/passes/shrink.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/passes/copy_graph.h"

namespace thimble {
namespace {

// Rows (or, of a vector, elements) of units of `width`.
Tensor CutRows(const Tensor& tensor, std::span<const int64_t> units, int64_t width) {
  const std::vector<float> from = tensor.ToFloats();
  const int64_t columns = tensor.rank() == 2 ? tensor.dim(1) : 1;
  const auto unit = static_cast<size_t>(width * columns);
  std::vector<float> to;
  to.reserve(units.size() * unit);
  for (const int64_t u : units) {
    const auto begin = from.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(u) * unit);
    to.insert(to.end(), begin, begin + static_cast<std::ptrdiff_t>(unit));
  }
  Shape shape = tensor.shape();
  shape[0] = static_cast<int64_t>(units.size()) * width;
  return Tensor::FromFloats(shape, to);
}

Tensor CutColumns(const Tensor& tensor, std::span<const int64_t> units, int64_t width) {
  const std::vector<float> from = tensor.ToFloats();
  const auto rows = static_cast<size_t>(tensor.dim(0)), columns = static_cast<size_t>(tensor.dim(1));
  const auto w = static_cast<size_t>(width);
  std::vector<float> to;
  to.reserve(rows * units.size() * w);
  for (size_t r = 0; r < rows; ++r) {
    for (const int64_t u : units) {
      const float* begin = from.data() + r * columns + static_cast<size_t>(u) * w;
      to.insert(to.end(), begin, begin + w);
    }
  }
  return Tensor::FromFloats({tensor.dim(0), static_cast<int64_t>(units.size()) * width}, to);
}

class Shrinker {
 public:
  explicit Shrinker(const Graph& graph) : graph_(graph) {}

  Result<Graph> Run(std::span<const Kept> kept) && {
    const std::vector<Structure> structures = FindStructures(graph_);
    for (const Kept& k : kept) {
      const auto s = std::find_if(structures.begin(), structures.end(),
                                  [&](const Structure& x) { return x.name == k.structure; });
      if (s == structures.end()) {
        return InvalidArgument("there is no structure " + Quoted(k.structure) + " to prune");
      }
      TRY_VOID(Check(*s, k));
      if (k.units.empty()) {
        TRY_VOID(Remove(*s));
      } else if (k.consumer_weight || static_cast<int64_t>(k.units.size()) < s->units) {
        Cut(*s, k);
      }
    }
    return Rebuild();
  }

 private:
  Status Check(const Structure& s, const Kept& k) const {
    for (size_t i = 0; i < k.units.size(); ++i) {
      if (k.units[i] < (i > 0 ? k.units[i - 1] + 1 : 0) || k.units[i] >= s.units) {
        return InvalidArgument(s.name + ": units to keep are rising and below " +
                               std::to_string(s.units));
      }
    }
    const Tensor& weight = graph_.nodes[s.consumer].weights[0].tensor;
    const Shape shape{weight.dim(0), static_cast<int64_t>(k.units.size()) * s.unit_width};
    if (k.consumer_weight && k.consumer_weight->shape() != shape) {
      return InvalidArgument(s.name + ": the new weight of its consumer is " +
                             ShapeText(k.consumer_weight->shape()) + ", not " + ShapeText(shape));
    }
    std::vector<size_t> nodes = s.producers;
    nodes.push_back(s.consumer);
    for (const size_t node : nodes) {
      const Weight& w = graph_.nodes[node].weights[0];
      if (w.tensor.dtype() == DType::kF32) continue;
      return Unsupported("weight " + Quoted(w.name) + " is " + std::string(DTypeName(w.tensor.dtype())) +
                         "; prune the float32 model, then convert it");
    }
    return {};
  }

  void Cut(const Structure& s, const Kept& k) {
    for (const size_t node : s.producers) {
      // Queries and keys may be of another width than values.
      Node& n = graph_.nodes[node];
      const int64_t width = graph_.value(n.output).type.width / s.units;
      for (Weight& w : n.weights) w.tensor = CutRows(w.tensor, k.units, width);
    }
    for (const size_t node : s.between) {
      for (Weight& w : graph_.nodes[node].weights) w.tensor = CutRows(w.tensor, k.units, s.unit_width);
    }
    if (s.attention) {
      std::get<AttentionAttrs>(graph_.nodes[*s.attention].attrs).heads =
          static_cast<int64_t>(k.units.size());
    }
    Tensor& weight = graph_.nodes[s.consumer].weights[0].tensor;
    weight = k.consumer_weight ? *k.consumer_weight : CutColumns(weight, k.units, s.unit_width);
  }

  // Instead of residual + W x + b: residual + b.
  Status Remove(const Structure& s) {
    if (!s.residual) {
      return Unsupported(s.name + ": nothing is added to what it gives, so one unit has to stay");
    }
    const Node& consumer = graph_.nodes[s.consumer];
    Node& add = graph_.nodes[*s.residual];
    const ValueId other = add.inputs[0] == consumer.output ? add.inputs[1] : add.inputs[0];
    const auto width = static_cast<size_t>(graph_.value(add.output).type.width);
    const std::vector<float> ones(width, 1.0f), zeros(width, 0.0f);
    const int64_t n = static_cast<int64_t>(width);
    const Tensor bias =
        consumer.weights.size() > 1 ? consumer.weights[1].tensor : Tensor::FromFloats({n}, zeros);
    add = Node{.op = OpKind::kAffine,
               .name = add.name,
               .inputs = {other},
               .weights = {{add.name + ".weight", Tensor::FromFloats({n}, ones)},
                           {add.name + ".bias", bias}},
               .attrs = NoAttrs{},
               .output = add.output};
    return {};
  }

  // Shapes anew, without what nothing reads any more.
  Result<Graph> Rebuild() const {
    std::vector<ValueId> outputs;
    for (const GraphOutput& output : graph_.outputs) outputs.push_back(output.value);
    const std::vector<bool> needed = NeededNodes(graph_, outputs);
    Builder builder;
    GraphCopier copy(graph_, builder);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (needed[i]) copy.Copy(graph_.nodes[i]);
    }
    copy.Outputs();
    return std::move(builder).Finish(graph_.max_sequence_length);
  }

  Graph graph_;
};

}  // namespace

Result<Graph> Shrink(const Graph& graph, std::span<const Kept> kept) {
  return Shrinker(graph).Run(kept);
}

}  // namespace thimble
