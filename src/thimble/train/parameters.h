// The weights of a graph as training changes them: float32, laid end to end in one buffer, so that
// clipping, averaging, the optimizer and the exchange between machines are loops over one array.
//
// Tied weights (Tensor::SameAs) are one parameter. Frozen parameters lie in a buffer of their own that
// has neither gradients nor moments.
// Thread-safety: reading is free for all; whoever writes the buffers sees to it that nobody reads.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/train/torch.h"

namespace thimble::train {

struct Parameter {
  std::string name;  // of the weight in the graph
  Shape shape;
  int64_t offset = 0, count = 0;  // in floats; offsets are multiples of kParameterAlignment
  bool trainable = true;
  bool decays = false;       // weight decay applies: matrices and tables, not biases and gains
  double rate_factor = 1.0;  // times the learning rate
};

inline constexpr int64_t kParameterAlignment = 16;  // 64 bytes

// Trained beside the weights, of no node: it goes into no graph.
struct ExtraParameter {
  std::string name;
  int64_t count = 0;
  float initial = 0;
};

struct ParameterOptions {
  at::Device device = at::kCPU;
  // Which weights are trained, by name; null: all.
  std::function<bool(std::string_view)> trainable;
  std::vector<ExtraParameter> extra;  // behind the weights
};

class ParameterSet {
 public:
  // Copies the weights of the graph, whatever their type and layout.
  static ParameterSet Create(const Graph& graph, const ParameterOptions& options = {});

  std::span<const Parameter> parameters() const { return parameters_; }
  std::span<Parameter> parameters() { return parameters_; }
  const Parameter* Find(std::string_view name) const;  // null if there is none

  // Index into parameters() of weight `weight` of graph.nodes[node].
  size_t IndexOf(size_t node, size_t weight) const { return index_[node][weight]; }

  // All that is trained, padding included (it stays zero).
  at::Tensor& values() { return trainable_; }
  const at::Tensor& values() const { return trainable_; }
  // A parameter as a view in its shape, and the same of any buffer laid out like values().
  at::Tensor View(size_t parameter) const;
  at::Tensor ViewOf(const at::Tensor& buffer, size_t parameter) const;

  // The graph with the trained weights as float32, row-major, and the frozen ones as they are in `graph`, which is
  // the one that the set was made of; every tie is kept.
  Graph ToGraph(const Graph& graph) const { return ToGraph(graph, trainable_); }
  // The same with the trained values taken from another buffer (a moving average, the best so far).
  Graph ToGraph(const Graph& graph, const at::Tensor& trained) const;

 private:
  std::vector<Parameter> parameters_;
  std::vector<std::vector<size_t>> index_;  // per node, per weight
  at::Tensor trainable_, frozen_;
};

}  // namespace thimble::train
