// What every operation of the graph is in libtorch.
//
// plain::<Operation> are torch expressions and nothing else: they run on every device and in every
// autograd mode, and define what training computes. fast::<Operation> compute the same on processors with
// kernels/, write gradients of weights straight into the buffer, and keep less for the backward pass.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "thimble/graph/graph.h"
#include "thimble/train/torch.h"

namespace thimble::train {

// What the operations of one run share.
class RunContext {
 public:
  RunContext(const PackedBatch& batch, at::Device device, std::span<const uint32_t> sequence_keys,
             uint32_t step_key);

  std::span<const int32_t> offsets() const { return offsets_; }
  const uint8_t* mask() const { return mask_.empty() ? nullptr : mask_.data(); }
  size_t sequences() const { return offsets_.size() - 1; }
  size_t tokens() const { return static_cast<size_t>(offsets_.back()); }
  at::Device device() const { return device_; }

  // Keys of the rows of a value for dropout at `site`, one per token or sequence.
  std::vector<uint32_t> RowKeys(Rows rows, uint32_t site) const;

  // The batch as a rectangle, for operations that need one: positions beyond a sequence's end show
  // token 0 and are not valid.
  struct Padded {
    int64_t sequences = 0, length = 0;
    at::Tensor gather;  // int64 [sequences * length]: token of each place
    at::Tensor valid;   // bool [sequences, length]
    at::Tensor
        attend;  // bool [sequences, length]: valid and not masked; all valid where all are masked
    at::Tensor any;      // bool [sequences]: some token is not masked
    at::Tensor scatter;  // int64 [tokens]: place of each token
  };
  const Padded& padded() const;

 private:
  std::vector<int32_t> offsets_;
  std::vector<uint8_t> mask_;
  at::Device device_;
  std::vector<uint32_t> sequence_keys_, token_keys_;
  uint32_t step_key_;
  mutable std::unique_ptr<Padded> padded_;
};

// A weight and where its gradient goes: undefined for frozen weights and runs without gradients.
struct WeightRef {
  at::Tensor value, gradient;
};

struct OpCall {
  const Node& node;
  Rows input_rows;
  std::span<const at::Tensor> inputs;
  std::span<const WeightRef> weights;
  // Shared, as steps of the backward pass outlive the forward pass.
  const std::shared_ptr<const RunContext>& run;
  // A scalar that requires gradients where any are recorded: steps without a differentiable input that have
  // weights to train hang from it.
  const at::Tensor& anchor;
  // Of attention probabilities, or of operand `dropped` of an add.
  double dropout = 0;
  int dropped = -1;
  uint32_t site = 0;
  at::ScalarType products = at::kFloat;  // what a linear multiplies in

  template <class T>
  const T& attr() const {
    return std::get<T>(node.attrs);
  }
};

using Expression = at::Tensor (*)(const OpCall&);

// Of an operation; `plain` asks for the torch expression even where there is a fast one.
Expression ExpressionOf(OpKind op, bool plain);

// Dropout on its own, and rows of a matrix.
at::Tensor DropoutRows(const at::Tensor& x, double probability, Rows rows, uint32_t site,
                       const std::shared_ptr<const RunContext>& run, bool plain);
at::Tensor SelectRows(const at::Tensor& x, std::span<const int64_t> rows);

namespace plain {
#define OP(enumerator, name, file, stem, attributes) at::Tensor stem(const OpCall& call);
#include "thimble/graph/ops.inc"
#undef OP
}  // namespace plain

namespace fast {
at::Tensor Embedding(const OpCall& call);
at::Tensor Linear(const OpCall& call);
at::Tensor Attention(const OpCall& call);
at::Tensor LayerNorm(const OpCall& call);
at::Tensor Affine(const OpCall& call);
at::Tensor Activation(const OpCall& call);
at::Tensor Add(const OpCall& call);
at::Tensor Dropout(const at::Tensor& x, double probability, Rows rows, uint32_t site,
                   const std::shared_ptr<const RunContext>& run);
}  // namespace fast

}  // namespace thimble::train
