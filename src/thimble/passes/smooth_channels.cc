#include "thimble/passes/smooth_channels.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <utility>

namespace thimble {
namespace {

bool IsHomogeneous(Activation function) {
  return function == Activation::kIdentity || function == Activation::kRelu ||
         function == Activation::kLeakyRelu;
}

// Values that must be scaled alike, and those that cannot be scaled.
class Streams {
 public:
  explicit Streams(const Graph& graph)
      : graph_(graph), parent_(graph.values.size()), fixed_(graph.values.size(), false) {
    std::iota(parent_.begin(), parent_.end(), 0);
    for (const Node& node : graph.nodes) Connect(node);
    for (const GraphOutput& output : graph.outputs) {
      if (output.name == "logits") Fix(output.value);
    }
  }

  size_t Of(ValueId value) {
    size_t root = Index(value);
    while (parent_[root] != root) root = parent_[root] = parent_[parent_[root]];
    return root;
  }
  bool IsFixed(ValueId value) { return fixed_[Of(value)]; }

 private:
  void Fix(ValueId value) { fixed_[Of(value)] = true; }
  void Join(ValueId a, ValueId b) {
    const size_t from = Of(a), to = Of(b);
    fixed_[to] = fixed_[to] || fixed_[from];
    parent_[from] = to;
  }

  void Connect(const Node& node) {
    // Whoever makes a value or reads it has to be able to change its weights.
    const bool changeable = std::all_of(
        node.weights.begin(), node.weights.end(),
        [&](const Weight& w) { return !IsQuantized(w.tensor.dtype()) && Uses(w.tensor) == 1; });
    if (!changeable) {
      for (const ValueId id : node.inputs) Fix(id);
      Fix(node.output);
    }
    switch (node.op) {
      case OpKind::kLinear:
      case OpKind::kEmbedding:
        return;
      case OpKind::kLayerNorm:
        return Fix(node.inputs[0]);
      case OpKind::kAdd:
        Join(node.inputs[0], node.output);
        return Join(node.inputs[1], node.output);
      case OpKind::kAffine:
      case OpKind::kPool:
        return Join(node.inputs[0], node.output);
      case OpKind::kActivation:
        if (IsHomogeneous(std::get<ActivationAttrs>(node.attrs).function)) {
          return Join(node.inputs[0], node.output);
        }
        break;
      case OpKind::kAttention:
        Fix(node.inputs[0]);
        Fix(node.inputs[1]);
        return Join(node.inputs[2], node.output);
      default:
        break;
    }
    for (const ValueId id : node.inputs) Fix(id);
    Fix(node.output);
  }

  size_t Uses(const Tensor& tensor) const {
    size_t uses = 0;
    for (const Node& node : graph_.nodes) {
      for (const Weight& w : node.weights) uses += w.tensor.SameAs(tensor) ? 1 : 0;
    }
    return uses;
  }

  const Graph& graph_;
  std::vector<size_t> parent_;
  std::vector<bool> fixed_;
};

// What is known of a stream: the largest magnitudes of its channels, and of the weights that read them.
struct Channels {
  std::vector<float> activations, weights;
};

void TakeLarger(std::vector<float>& largest, size_t at, float value) {
  largest[at] = std::max(largest[at], std::abs(value));
}

float ScaleOf(float activation, float weight, double strength) {
  if (!(activation > 0) || !(weight > 0)) return 1;
  const double scale = std::pow(static_cast<double>(activation), strength) /
                       std::pow(static_cast<double>(weight), 1 - strength);
  constexpr double kMostBits = 20;
  const double bits = std::clamp(std::round(std::log2(scale)), -kMostBits, kMostBits);
  return static_cast<float>(std::exp2(bits));
}

// The weight with its element (row, column) multiplied.
template <class Factor>
Tensor Multiplied(const Tensor& weight, size_t columns, const Factor& factor) {
  std::vector<float> values = weight.ToFloats();
  for (size_t i = 0; i < values.size(); ++i) values[i] *= factor(i / columns, i % columns);
  return Tensor::FromFloats(weight.shape(), values);
}

}  // namespace

Result<Smoothed> SmoothChannels(const Graph& graph, std::span<const std::vector<float>> largest,
                                double strength) {
  if (!(strength >= 0 && strength <= 1)) {
    return InvalidArgument("the strength of smoothing lies between 0 and 1");
  }
  Streams streams(graph);
  std::map<size_t, Channels> known;
  for (const Node& node : graph.nodes) {
    const ValueId x = node.inputs[0];
    if (node.op != OpKind::kLinear || streams.IsFixed(x) || largest[Index(x)].empty()) continue;
    Channels& channels = known[streams.Of(x)];
    const auto width = static_cast<size_t>(graph.value(x).type.width);
    channels.activations.resize(width, 0);
    channels.weights.resize(width, 0);
    const std::vector<float> w = node.weights[0].tensor.ToFloats();
    for (size_t i = 0; i < w.size(); ++i) TakeLarger(channels.weights, i % width, w[i]);
    for (size_t i = 0; i < width; ++i) TakeLarger(channels.activations, i, largest[Index(x)][i]);
  }

  Smoothed result{graph, 0, 0};
  std::map<size_t, std::vector<float>> scales;
  for (const auto& [stream, channels] : known) {
    std::vector<float> s(channels.activations.size());
    for (size_t i = 0; i < s.size(); ++i) {
      s[i] = ScaleOf(channels.activations[i], channels.weights[i], strength);
      result.channels += s[i] != 1 ? 1 : 0;
    }
    if (std::all_of(s.begin(), s.end(), [](float v) { return v == 1; })) continue;
    ++result.streams;
    scales[stream] = std::move(s);
  }
  // Null: not scaled.
  const auto of = [&](ValueId value) -> const std::vector<float>* {
    const auto found = scales.find(streams.Of(value));
    return found == scales.end() ? nullptr : &found->second;
  };

  for (Node& node : result.graph.nodes) {
    const std::vector<float>* out = of(node.output);
    const std::vector<float>* in = of(node.inputs[0]);
    const auto divide_vector = [&](size_t index) {
      if (index >= node.weights.size() || out == nullptr) return;
      Tensor& vector = node.weights[index].tensor;
      vector = Multiplied(vector, out->size(), [&](size_t, size_t i) { return 1 / (*out)[i]; });
    };
    if (node.op == OpKind::kLinear && (in != nullptr || out != nullptr)) {
      Tensor& weight = node.weights[0].tensor;
      const auto columns = static_cast<size_t>(weight.dim(1));
      weight = Multiplied(weight, columns, [&](size_t row, size_t column) {
        return (in != nullptr ? (*in)[column] : 1) / (out != nullptr ? (*out)[row] : 1);
      });
      divide_vector(1);
    } else if (node.op == OpKind::kEmbedding) {
      divide_vector(0);
    } else if (node.op == OpKind::kLayerNorm) {
      divide_vector(0);
      divide_vector(1);
    } else if (node.op == OpKind::kAffine) {
      divide_vector(1);  // the gain is the same in all units
    }
  }

  for (GraphOutput& output : result.graph.outputs) {
    const std::vector<float>* s = of(output.value);
    if (s == nullptr) continue;
    Node restore;
    restore.op = OpKind::kAffine;
    restore.name = output.name + ".unsmoothed";
    restore.inputs = {output.value};
    const Shape shape{static_cast<int64_t>(s->size())};
    restore.weights = {
        {restore.name + ".weight", Tensor::FromFloats(shape, *s)},
        {restore.name + ".bias", Tensor::FromFloats(shape, std::vector<float>(s->size(), 0.0f))}};
    restore.output = static_cast<ValueId>(result.graph.values.size());
    result.graph.values.push_back({restore.name, graph.value(output.value).type});
    output.value = restore.output;
    result.graph.nodes.push_back(std::move(restore));
  }
  TRY_VOID(Verify(result.graph));
  return result;
}

}  // namespace thimble
