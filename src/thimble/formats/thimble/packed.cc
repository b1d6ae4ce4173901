#include "thimble/formats/thimble/packed.h"

#include <map>
#include <utility>

#include "thimble/graph/panels.h"

namespace thimble {

StoredForm StoredFormOf(const Node& node, size_t weight_index) {
  const Tensor& tensor = node.weights[weight_index].tensor;
  const bool matrix = weight_index == 0 && tensor.rank() == 2;
  const DType dtype = FitsPanels(tensor.dtype()) ? tensor.dtype() : DType::kF32;
  if (matrix && node.op == OpKind::kLinear) {
    const bool sparse = tensor.layout() == Layout::kBlockSparse;
    return {dtype, sparse ? Layout::kBlockSparse : Layout::kPanels};
  }
  if (matrix && node.op == OpKind::kEmbedding) return {dtype, Layout::kRowMajor};
  return {DType::kF32, Layout::kRowMajor};
}

Tensor InForm(const Tensor& tensor, const StoredForm& form) {
  if (tensor.dtype() == form.dtype) return tensor.InLayout(form.layout);
  return Tensor::FromFloats(tensor.shape(), tensor.ToFloats()).InLayout(form.layout);
}

Graph Packed(Graph graph) {
  // What was made of a weight; the weight is kept, so that no other takes its address meanwhile.
  struct Made {
    Tensor source;
    StoredForm form;
    Tensor packed;
  };
  std::multimap<const std::byte*, Made> made;
  for (Node& node : graph.nodes) {
    for (size_t w = 0; w < node.weights.size(); ++w) {
      Tensor& tensor = node.weights[w].tensor;
      const StoredForm form = StoredFormOf(node, w);
      if (StoredForm{tensor.dtype(), tensor.layout()} == form) continue;
      const auto [begin, end] = made.equal_range(tensor.data().data());
      auto known = begin;
      while (known != end && !(known->second.form == form && known->second.source.SameAs(tensor))) {
        ++known;
      }
      if (known == end) {
        known = made.emplace(tensor.data().data(), Made{tensor, form, InForm(tensor, form)});
      }
      tensor = known->second.packed;
    }
  }
  return graph;
}

Model Packed(Model model) {
  model.graph = Packed(std::move(model.graph));
  return model;
}

}  // namespace thimble
