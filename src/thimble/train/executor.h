// Executes a graph with libtorch, so that it can be trained: the same graph that the runtime executes,
// with the same packed batches, and gradients.
//
//   const ParameterSet parameters = ParameterSet::Create(graph);
//   TRY(const Executor executor, Executor::Create(graph, parameters));
//   at::Tensor gradients = at::zeros_like(parameters.values());
//   TRY(auto values, executor.Run(batch, {{logits}}, {.gradients = gradients}));
//   Loss(values[0]).backward();          // adds to `gradients`
//
// Each operation has a plain torch expression, which runs on every device and is the specification, and
// most have a fast one for processors (expressions.h).
//
// Dropout is no operation of the graph but of training: it is placed where BERT has it, which is found from
// the structure. It acts on the attention probabilities, on the sum of embeddings after its norm, on every
// linear whose output is added to a residual, and on the input of the linear that gives "logits" per sequence. A
// linear with a low-rank adapter beside it (passes/lora.h) is dropped as one.
// What is dropped depends on the keys alone (kernels/kernels.h), not on batch, thread or machine.
//
// Thread-safety: Run is const and may be called from several threads at once, with a gradient buffer each.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/runtime/session.h"
#include "thimble/train/parameters.h"
#include "thimble/train/precision.h"
#include "thimble/train/torch.h"

namespace thimble::train {

struct ExecutorOptions {
  at::Device device = at::kCPU;
  bool plain = false;  // use the plain expressions even where there are fast ones
  Precision precision = Precision::kFloat32;  // of the products of linears
  double hidden_dropout = 0, attention_dropout = 0;
  // Per node: whether each row of a linear's input is rounded to int8 codes, as the runtime does before int8
  // weights; empty: none. Scales that nodes carry are used in any case.
  std::vector<bool> rounded_rows;
};

struct RunOptions {
  // Where gradients of the trained weights are added: a buffer like ParameterSet::values(). Undefined:
  // nothing is recorded.
  at::Tensor gradients;
  // Dropout is on where sequence keys are given, one per sequence.
  uint32_t step_key = 0;
  std::span<const uint32_t> sequence_keys;
  // Not empty: "logits" per token are computed for these rows of the batch only, in this order
  // (masked language modelling needs one in seven).
  std::span<const int64_t> logit_rows;
};

class Executor {
 public:
  // `graph` and `parameters` must outlive the executor.
  static Result<Executor> Create(const Graph& graph, const ParameterSet& parameters,
                                 const ExecutorOptions& options = {});

  // float32 [rows, width] of each wanted value, on the executor's device. kInvalidArgument: an id without
  // a row in its table, named. Failures of libtorch (memory, device) come as kResourceExhausted.
  Result<std::vector<at::Tensor>> Run(const Batch& batch, std::span<const ValueId> wanted,
                                      const RunOptions& options = {}) const;

  const Graph& graph() const { return *graph_; }
  const ParameterSet& parameters() const { return *parameters_; }

 private:
  // Where dropout acts at a node.
  struct Dropout {
    bool on_output = false;
    bool on_input = false;
    int operand = -1;  // of an add: the residual's branch
  };

  Executor(const Graph& graph, const ParameterSet& parameters, const ExecutorOptions& options);
  void PlaceDropout();
  void FindHead();
  Status CheckIds(const Batch& batch) const;
  at::Tensor RoundedInput(size_t node, const at::Tensor& x) const;
  std::vector<at::Tensor> Execute(const Batch& batch, std::span<const ValueId> wanted,
                                  const RunOptions& options) const;

  const Graph* graph_;
  const ParameterSet* parameters_;
  ExecutorOptions options_;
  std::vector<Dropout> dropout_;  // per node
  // The first of the nodes that end in "logits" and work row by row; none: graph.nodes.size().
  size_t head_ = 0;
};

}  // namespace thimble::train
