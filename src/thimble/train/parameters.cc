#include "thimble/train/parameters.h"

#include <algorithm>
#include <cstring>

namespace thimble::train {
namespace {

constexpr int64_t Aligned(int64_t floats) {
  return (floats + kParameterAlignment - 1) / kParameterAlignment * kParameterAlignment;
}

}  // namespace

ParameterSet ParameterSet::Create(const Graph& graph, const ParameterOptions& options) {
  ParameterSet set;
  std::vector<Tensor> tensors;  // of parameters_, to recognise ties
  int64_t sizes[2] = {0, 0};    // of the frozen and the trained buffer
  for (const Node& node : graph.nodes) {
    std::vector<size_t>& index = set.index_.emplace_back();
    for (const Weight& weight : node.weights) {
      const auto tied = std::find_if(tensors.begin(), tensors.end(),
                                     [&](const Tensor& t) { return t.SameAs(weight.tensor); });
      index.push_back(static_cast<size_t>(tied - tensors.begin()));
      if (tied != tensors.end()) continue;
      Parameter p;
      p.name = weight.name;
      p.shape = weight.tensor.shape();
      p.count = static_cast<int64_t>(weight.tensor.elements());
      p.trainable = !options.trainable || options.trainable(weight.name);
      p.decays = weight.tensor.rank() >= 2;
      int64_t& size = sizes[p.trainable ? 1 : 0];
      p.offset = size;
      size += Aligned(p.count);
      set.parameters_.push_back(std::move(p));
      tensors.push_back(weight.tensor);
    }
  }
  const size_t weights = tensors.size();
  for (const ExtraParameter& extra : options.extra) {
    Parameter p;
    p.name = extra.name;
    p.shape = {extra.count};
    p.count = extra.count;
    p.offset = sizes[1];
    sizes[1] += Aligned(p.count);
    set.parameters_.push_back(std::move(p));
  }
  at::Tensor buffers[2];
  for (size_t i = 0; i < 2; ++i) buffers[i] = at::zeros({sizes[i]}, at::kFloat);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Parameter& p = set.parameters_[i];
    const std::vector<float> values = tensors[i].ToFloats();
    std::copy(values.begin(), values.end(),
              buffers[p.trainable ? 1 : 0].data_ptr<float>() + p.offset);
  }
  for (size_t i = 0; i < options.extra.size(); ++i) {
    const Parameter& p = set.parameters_[weights + i];
    buffers[1].narrow(0, p.offset, p.count).fill_(options.extra[i].initial);
  }
  set.frozen_ = buffers[0].to(options.device);
  set.trainable_ = buffers[1].to(options.device);
  return set;
}

const Parameter* ParameterSet::Find(std::string_view name) const {
  const auto found = std::find_if(parameters_.begin(), parameters_.end(),
                                  [&](const Parameter& p) { return p.name == name; });
  return found == parameters_.end() ? nullptr : &*found;
}

at::Tensor ParameterSet::View(size_t parameter) const {
  return ViewOf(parameters_[parameter].trainable ? trainable_ : frozen_, parameter);
}

at::Tensor ParameterSet::ViewOf(const at::Tensor& buffer, size_t parameter) const {
  const Parameter& p = parameters_[parameter];
  return buffer.narrow(0, p.offset, p.count).view(p.shape);
}

Graph ParameterSet::ToGraph(const Graph& graph, const at::Tensor& trained) const {
  const at::Tensor buffer = trained.cpu();
  std::vector<Tensor> tensors;
  for (const Parameter& p : parameters_) {
    if (!p.trainable) {
      tensors.emplace_back();
      continue;
    }
    const float* values = buffer.data_ptr<float>() + p.offset;
    tensors.push_back(Tensor::FromFloats(p.shape, {values, static_cast<size_t>(p.count)}));
  }
  Graph result = graph;
  for (size_t n = 0; n < result.nodes.size(); ++n) {
    for (size_t w = 0; w < result.nodes[n].weights.size(); ++w) {
      const size_t p = index_[n][w];
      if (parameters_[p].trainable) result.nodes[n].weights[w].tensor = tensors[p];
    }
  }
  return result;
}

}  // namespace thimble::train
