#include "thimble/train/initializer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "thimble/base/random.h"

namespace thimble::train {
namespace {

uint64_t HashName(std::string_view name) {  // FNV-1a
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

constexpr std::string_view kLayer = "layer.";

// The layer number in a name like "bert.encoder.layer.3.output.dense.weight".
struct LayerNumber {
  size_t begin, end;  // of the digits
  int value;
};
std::optional<LayerNumber> FindLayer(std::string_view name) {
  const size_t at = name.find(kLayer);
  if (at == std::string_view::npos) return std::nullopt;
  LayerNumber layer{at + kLayer.size(), 0, 0};
  const auto [end, error] =
      std::from_chars(name.data() + layer.begin, name.data() + name.size(), layer.value);
  if (error != std::errc()) return std::nullopt;
  layer.end = static_cast<size_t>(end - name.data());
  return layer;
}

// The leading part of every dimension. The missing inputs of a matrix would have added to its sums: with
// independent terms a sum over n of N has sqrt(n / N) of the size, which the scale undoes.
Tensor LeadingPart(const Tensor& tensor, const Shape& shape) {
  const std::vector<float> all = tensor.ToFloats();
  std::vector<float> part;
  if (shape.size() == 1) {
    part.assign(all.begin(), all.begin() + shape[0]);
  } else {
    const auto scale = static_cast<float>(
        std::sqrt(static_cast<double>(tensor.dim(1)) / static_cast<double>(shape[1])));
    for (int64_t r = 0; r < shape[0]; ++r) {
      for (int64_t c = 0; c < shape[1]; ++c) {
        part.push_back(scale * all[static_cast<size_t>(r * tensor.dim(1) + c)]);
      }
    }
  }
  return Tensor::FromFloats(shape, part);
}

bool Covers(const Tensor& tensor, const Shape& shape) {
  if (tensor.rank() != shape.size() || shape.empty() || shape.size() > 2) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (tensor.dim(i) < shape[i]) return false;
  }
  return true;
}

}  // namespace

Result<Tensor> RandomWeights::Get(std::string_view name, const Shape& shape) {
  if (const auto made = made_.find(name); made != made_.end()) return made->second;
  const std::optional<size_t> count = ElementCount(shape);
  if (!count.has_value()) {
    return InvalidArgument("the size of " + std::string(name) + " is not known: give the labels");
  }
  std::vector<float> values(*count, 0.0f);
  if (shape.size() >= 2) {
    Random random(seed_, HashName(name));
    for (float& v : values) {
      double z = random.Normal();
      while (std::abs(z) > 2) z = random.Normal();
      v = static_cast<float>(spread_ * z);
    }
  } else if (name.ends_with(".weight")) {
    std::fill(values.begin(), values.end(), 1.0f);
  }
  return made_.emplace(name, Tensor::FromFloats(shape, values)).first->second;
}

Result<InheritedWeights> InheritedWeights::Create(const Graph& from, int layers,
                                                  const Inheritance& options,
                                                  RandomWeights random) {
  InheritedWeights source(std::move(random));
  int teacher_layers = 0;
  for (const Node& node : from.nodes) {
    for (const Weight& weight : node.weights) {
      source.from_.emplace(weight.name, weight.tensor);
      if (const auto layer = FindLayer(weight.name)) {
        teacher_layers = std::max(teacher_layers, layer->value + 1);
      }
    }
  }
  source.layers_ = options.layers;
  if (source.layers_.empty()) {
    for (int i = 0; i < layers; ++i) {
      source.layers_.push_back(std::max(0, (i + 1) * teacher_layers / std::max(layers, 1) - 1));
    }
  }
  if (source.layers_.size() != static_cast<size_t>(layers)) {
    return InvalidArgument("the layer map has " + std::to_string(source.layers_.size()) +
                           " entries for " + std::to_string(layers) + " layers");
  }
  for (const int layer : source.layers_) {
    if (layer < 0 || (teacher_layers > 0 && layer >= teacher_layers)) {
      return InvalidArgument("there is no layer " + std::to_string(layer) + " among the " +
                             std::to_string(teacher_layers) + " to start from");
    }
  }
  return source;
}

Result<Tensor> InheritedWeights::Get(std::string_view name, const Shape& shape) {
  if (const auto made = made_.find(name); made != made_.end()) return made->second;
  std::string wanted(name);
  if (const auto layer = FindLayer(name)) {
    if (layer->value >= 0 && static_cast<size_t>(layer->value) < layers_.size()) {
      wanted.replace(layer->begin, layer->end - layer->begin,
                     std::to_string(layers_[static_cast<size_t>(layer->value)]));
    }
  }
  const auto found = from_.find(wanted);
  if (found == from_.end() || !Covers(found->second, shape)) return random_.Get(name, shape);
  ++inherited_;
  const Tensor tensor = found->second.shape() == shape
                            ? Tensor::FromFloats(shape, found->second.ToFloats())
                            : LeadingPart(found->second, shape);
  return made_.emplace(name, tensor).first->second;
}

}  // namespace thimble::train
