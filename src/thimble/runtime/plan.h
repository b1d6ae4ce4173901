// How a graph is executed: which kernel calls, in which order, on which buffers.
//
// A plan cuts the graph into segments. Inside a segment every step works row by row, so a block of rows
// goes through the whole segment while it is in cache, and threads take different blocks; steps that
// look across rows (attention, trigram, pooling) start a new segment. Between segments values live in
// whole-batch buffers, inside a segment in a per-thread scratch of one block. Both are laid out once,
// by liveness; running allocates nothing once the arena has grown to the largest batch.
//
// Linear, residual Add, Affine and Activation become one step (the kernels' Epilogue). A plan depends
// neither on the processor nor on the batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/runtime/kernels/kernels.h"

namespace thimble {

enum class StepKind : uint8_t {
  kEmbedding,
  kTrigram,
  kQuantize,  // rows to int8, for the linears that follow
  kLinear,
  kAttention,
  kLayerNorm,
  kAffine,
  kActivation,
  kAdd,
  kPoolFirst,
  kPoolMean,
  kL2Normalize,
};
std::string_view StepKindName(StepKind kind);

// Where a matrix lies. Slots are indices into Plan::batch_slots or Segment::block_slots.
struct Operand {
  enum class Home : uint8_t { kNone, kBatch, kBlock } home = Home::kNone;
  uint32_t slot = 0;
  uint32_t width = 0;  // of the matrix; its row stride is the slot's
  Rows rows = Rows::kTokens;
};

struct Step {
  StepKind kind;
  std::string name;  // of the node it came from (the linear of a fused one)
  Operand out;
  Operand in;        // q for attention
  Operand in2;       // residual of a linear, second operand of an add, k of attention
  Operand in3;       // v of attention
  uint32_t ids = 0;  // kEmbedding: index into Plan::id_values
  uint32_t quantized =
      0;  // kQuantize writes, int8 kLinear reads: index into Segment::quantized_slots
  // Weights, viewed in the graph's tensors, which the plan keeps alive.
  const Tensor* weight = nullptr;
  const float* bias = nullptr;
  const float* gamma = nullptr;  // of the affine after a linear, of an affine or norm on its own
  const float* beta = nullptr;
  Activation activation = Activation::kIdentity;
  float epsilon = 0;
  float input_scale = 0;  // kQuantize: of every row; 0: each row has its own
  int64_t heads = 1;
  float scale = 1;
  // Multiply-adds per output row; attention: per query and key.
  double macs_per_row = 0;
};

struct Segment {
  Rows rows = Rows::kTokens;
  std::vector<Step> steps;
  std::vector<uint32_t> block_slots;      // row strides in floats
  std::vector<uint32_t> quantized_slots;  // row strides in bytes; each also has one scale per row
  size_t BlockBytesPerRow() const;
};

// An int32 column that is filled before the first segment.
struct IdValue {
  enum class Source : uint8_t { kInput, kPositions } source = Source::kInput;
  uint32_t input = 0;  // index of the graph input it is, or is computed from
  PositionIdsAttrs positions;
  int64_t limit = 0;  // ids must be below this: rows of the smallest table it indexes
};

struct Plan {
  Plan() = default;
  Plan(Plan&&) = default;  // steps point into the graph: moving keeps that, copying would not
  Plan& operator=(Plan&&) = default;

  Graph graph;  // rewritten for the wanted outputs; owns the tensors that steps point to
  std::vector<IdValue> id_values;
  std::vector<Segment> segments;
  struct BatchSlot {
    Rows rows;
    uint32_t stride;
  };
  std::vector<BatchSlot> batch_slots;
  std::vector<Operand> outputs;  // in the order asked for
};

// Checks everything that does not depend on ids: after this a run fails only on ids and lengths.
// Linear weights must be in panels or block-sparse, as a .thimble file has them.
Result<Plan> MakePlan(const Graph& graph, std::span<const std::string_view> outputs);

}  // namespace thimble
