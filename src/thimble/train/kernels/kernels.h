// Loops of training that libtorch does slowly on a processor or not at all: one table per instruction
// set, as in runtime/kernels. A kernel knows rows and strides, never a tensor library.
//
// Matrices are float32, row-major, without gaps between rows unless a stride says otherwise. Functions
// that end a backward pass add to the gradients of weights and overwrite those of activations.
// Every loop has one fixed order of summation, so that a run repeats bit for bit.
// Thread-safety: no state; callers split rows among threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "thimble/graph/ops.h"

namespace thimble {

// --- Dropout

// Which elements are dropped is a function of the row's key and the column, not of a generator's
// state: the same example is treated alike in whatever batch, thread or machine it is computed, and
// the backward pass recomputes the decision instead of storing it.
//
// Element (r, c) is kept where RandomBits(row_keys[r], c) >= DropoutThreshold(probability).
uint32_t RandomBits(uint32_t row_key, uint32_t column);  // uniform in [0, 2^16): the definition
uint32_t MixKeys(uint32_t a, uint32_t b);     // a key that depends on both; one-to-one in b
int32_t DropoutThreshold(float probability);  // round(probability * 2^16)

struct DropoutArgs {
  const float* x = nullptr;
  const float* residual = nullptr;  // null: none
  float* y = nullptr;               // x * kept / (1 - probability) + residual; may be x
  size_t rows = 0, width = 0;
  const uint32_t* row_keys = nullptr;
  float probability = 0;  // in [0, 1)
};

// --- Attention over one packed batch, as the graph's operation defines it (graph/ops.h)

// To split a batch among threads, give each a part of `offsets` (n sequences are n + 1 entries) and
// its part of `kept`. Rows of tokens are counted from the start of the batch all the same, so the
// matrices and the mask stay as they are. Rows of sequences, where per_token is false, are counted
// from the part's first sequence: q, out, their gradients and row_keys then begin there.
// Masked keys are left out, but what they hold must be finite.
struct AttentionShape {
  std::span<const int32_t> offsets;                   // of sequences, in tokens
  const uint8_t* mask = nullptr;                      // one byte per token; null: none masked
  bool per_token = true;                              // false: one query row per sequence
  size_t heads = 1, head_width = 0, value_width = 0;  // of one head
  size_t q_stride = 0, k_stride = 0, v_stride = 0;    // of rows, in floats; outputs have the same
  size_t out_stride = 0;
  float scale = 1;
  float dropout = 0;                   // of probabilities
  const uint32_t* row_keys = nullptr;  // one per query row; column of (head h, key j): h * keys + j
};
// Floats that Forward keeps for Backward: the probabilities before dropout, per sequence
// [heads, queries, keys rounded up to 16], the rest of a row zero. Dropped ones have their sign bit
// set.
size_t AttentionKeptFloats(const AttentionShape& shape);
struct AttentionForwardArgs {
  AttentionShape shape;
  const float *q = nullptr, *k = nullptr, *v = nullptr;
  float* kept = nullptr;
  float* out = nullptr;
};
struct AttentionBackwardArgs {
  AttentionShape shape;
  const float *q = nullptr, *k = nullptr, *v = nullptr, *kept = nullptr, *d_out = nullptr;
  float *d_q = nullptr, *d_k = nullptr, *d_v = nullptr;  // overwritten, with the inputs' strides
};

// --- Rows

struct LayerNormForwardArgs {
  const float *x = nullptr, *gamma = nullptr, *beta = nullptr;
  float* y = nullptr;
  float *mean = nullptr, *inverse = nullptr;  // one per row: 1 / sqrt(variance + epsilon)
  size_t rows = 0, width = 0;
  float epsilon = 0;
};
struct LayerNormBackwardArgs {
  const float *x = nullptr, *gamma = nullptr, *mean = nullptr, *inverse = nullptr, *d_y = nullptr;
  float* d_x = nullptr;                         // overwritten
  float *d_gamma = nullptr, *d_beta = nullptr;  // added to; null: not wanted
  size_t rows = 0, width = 0;
};
struct AffineBackwardArgs {
  const float *x = nullptr, *gamma = nullptr, *d_y = nullptr;
  float* d_x = nullptr;                         // overwritten
  float *d_gamma = nullptr, *d_beta = nullptr;  // added to; null: not wanted
  size_t rows = 0, width = 0;
};

// --- AdamW (Loshchilov and Hutter 2019), decoupled weight decay

struct AdamWArgs {
  float *weights = nullptr, *first = nullptr, *second = nullptr;  // updated
  const float* gradients = nullptr;
  size_t count = 0;
  float gradient_scale = 1;  // multiplied in first (clipping)
  float rate = 0, beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f, decay = 0;
  float correction1 = 1, correction2 = 1;  // 1 - beta^step
};

// Tables with fused multiply-add give the same bits, as in runtime/kernels; decisions of dropout are
// the same on all.
struct TrainKernels {
  std::string_view name;  // "avx512", "avx2", "sse4", "neon", "scalar", ...
  bool fused;             // has fused multiply-add
  void (*dropout)(const DropoutArgs&) noexcept;
  void (*attention_forward)(const AttentionForwardArgs&) noexcept;
  void (*attention_backward)(const AttentionBackwardArgs&) noexcept;
  void (*layer_norm_forward)(const LayerNormForwardArgs&) noexcept;
  void (*layer_norm_backward)(const LayerNormBackwardArgs&) noexcept;
  // y = x * gamma + beta
  void (*affine_forward)(const float* x, const float* gamma, const float* beta, float* y,
                         size_t rows, size_t width) noexcept;
  void (*affine_backward)(const AffineBackwardArgs&) noexcept;
  // y = f(x); y may be x
  void (*activation_forward)(Activation function, const float* x, float* y, size_t count) noexcept;
  // d_x = d_y f'(x); d_x may be d_y
  void (*activation_backward)(Activation function, const float* x, const float* d_y, float* d_x,
                              size_t count) noexcept;
  // sums[c] += sum over r of x[r][c]
  void (*add_column_sums)(const float* x, size_t rows, size_t width, float* sums) noexcept;
  // table[ids[r]] += x[r]
  void (*scatter_add_rows)(const float* x, const int32_t* ids, size_t rows, size_t width,
                           float* table) noexcept;
  void (*adamw)(const AdamWArgs&) noexcept;
  // y += scale * x
  void (*add_scaled)(const float* x, float scale, float* y, size_t count) noexcept;
  // Sum of squares, accumulated in double.
  double (*sum_of_squares)(const float* x, size_t count) noexcept;
};

// The best table of this processor; THIMBLE_ISA=<name> forces one, as for the runtime.
const TrainKernels& BestTrainKernels();
// All that this processor can run, best first: tests go through them.
std::span<const TrainKernels* const> AvailableTrainKernels();
// The table of a name of the runtime's: those with products of int8 ("avx2_vnni") are the one they
// extend ("avx2"). Null if this processor or build has none.
const TrainKernels* FindTrainKernels(std::string_view name);

}  // namespace thimble
