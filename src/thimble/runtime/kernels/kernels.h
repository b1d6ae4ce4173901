// The kernels of one instruction set, as a table of functions. Kernels see pointers and strides,
// never a graph; they are single-threaded, allocate nothing and cannot fail: the plan has checked
// everything.
//
// Same bits everywhere: on every instruction set with fused multiply-add each function gives the
// same bits for the same input, whatever the vector width, because every output element is computed
// by the same operations in the same order:
//   - a product sums over inputs k = 0, 1, 2, ... by fused multiply-add from zero;
//   - a reduction over a row (norm, softmax, maximum, scale) keeps 16 partial results, lane i
//   taking
//     elements i, i + 16, ..., and folds them as lanes i + (i + 8), + (i + 4), + (i + 2), + (i +
//     1);
//   - int8 products are exact in int32.
// Without fused multiply-add (SSE4, WebAssembly) integer products are the same and floats agree to
// rounding.
//
// Strides are in elements. Rows of float matrices may be read and written only within their width.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "thimble/graph/ops.h"

namespace thimble {

// What happens to a product before it is stored, in this order; null pointers skip a step.
struct Epilogue {
  const float* bias = nullptr;      // [cols] z = product + bias
  const float* residual = nullptr;  // [rows, cols] z = z + residual
  size_t residual_stride = 0;
  const float* gamma = nullptr;  // [cols] z = fma(z, gamma, beta), both or none
  const float* beta = nullptr;
  Activation activation = Activation::kIdentity;
};

// c[rows, cols] = epilogue(a[rows, inputs] * weight^T). `weight` in panels (graph/panels.h)
// or block-sparse (graph/block_sparse.h). A sum over kept blocks leaves out zeros alone, and so has the
// bits of the dense one where `a` is finite, but for the sign of a zero.
// c may be residual (same rows, same stride); c must not overlap a.
struct LinearArgs {
  const float* a = nullptr;
  size_t a_stride = 0;
  const void* weight =
      nullptr;  // panels of float, IEEE half or codes, or block-sparse, by function
  size_t rows = 0, cols = 0, inputs = 0;
  float* c = nullptr;
  size_t c_stride = 0;
  Epilogue epilogue;
};

// int8: z = fma(float(sum), a_scales[row] * weight_scales[col], bias), then the epilogue from
// residual on (without bias: the product of the two scales times the sum).
struct LinearInt8Args {
  const int8_t* a =
      nullptr;  // quantized rows, in [-127, 127]; zero from inputs to the next multiple of 64
  size_t a_stride = 0;                   // multiple of 64; a is 64-byte aligned
  const float* a_scales = nullptr;       // [rows]
  const int8_t* weight = nullptr;        // panels
  const float* weight_scales = nullptr;  // [cols rounded up to 16]
  size_t rows = 0, cols = 0, inputs = 0;
  float* c = nullptr;
  size_t c_stride = 0;
  Epilogue epilogue;
};

// As LinearArgs, with weights code * scale, rounded to float32, in panels of codes and of scales (graph/panels.h,
// graph/tensor.h): the bits of the float32 product with these weights.
struct LinearGroupedArgs {
  LinearArgs linear;  // weight: codes
  const float* scales = nullptr;
  size_t group = 0;  // inputs that share a scale: of kScaleGroups
};

// Symmetric quantization, one scale per row: scale = max|x| / 127, q = round-to-nearest-even(x /
// scale), computed as x * (127 / max|x|). A row of zeros gives scale 0. Fills up to the next
// multiple of 64 with zeros. NaN quantizes to 0, infinity to +-127 with an infinite scale.
// With a scale that is given (static quantization): q = round(x * (1 / scale)), saturating at +-127.
struct QuantizeArgs {
  const float* x = nullptr;
  size_t x_stride = 0;
  size_t rows = 0, width = 0;
  int8_t* q = nullptr;
  size_t q_stride = 0;
  float* scales = nullptr;  // [rows]
  float scale = 0;          // given, of all rows; 0: each has its own
};

// One head of one sequence, `queries` rows against all its keys:
//   out[queries, value_width] = softmax(scale * q k^T) v
// Never stores more than a block of scores. With `key_mask`, keys whose byte is 0 are left out; if
// all are 0, all count alike.
struct AttentionArgs {
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  size_t q_stride = 0, k_stride = 0, v_stride = 0;
  size_t queries = 0, keys = 0, head_width = 0, value_width = 0;
  float scale = 1;
  const uint8_t* key_mask = nullptr;
  float* out = nullptr;
  size_t out_stride = 0;
  float* scratch = nullptr;  // AttentionScratchFloats(...), 64-byte aligned
};
// The same for every instruction set: a plan does not depend on the processor.
size_t AttentionScratchFloats(size_t keys, size_t head_width, size_t value_width);

// y = (x - mean) / sqrt(variance + epsilon) * weight + bias, per row; y may be x.
struct LayerNormArgs {
  const float* x = nullptr;
  size_t x_stride = 0;
  size_t rows = 0, width = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;
  float epsilon = 0;
  float* y = nullptr;
  size_t y_stride = 0;
};

// Elementwise, y = op(x) per row; y may be x.
struct RowsArgs {
  const float* x = nullptr;
  size_t x_stride = 0;
  size_t rows = 0, width = 0;
  float* y = nullptr;
  size_t y_stride = 0;
};

struct Kernels {
  std::string_view name;  // "avx512_vnni", "avx2", "neon", "scalar", ...
  bool fused;             // has fused multiply-add: bits as stated above

  void (*linear_f32)(const LinearArgs&) noexcept;
  void (*linear_f16)(const LinearArgs&) noexcept;
  void (*linear_block_sparse)(const LinearArgs&) noexcept;
  void (*linear_int8)(const LinearInt8Args&) noexcept;
  void (*linear_i8_group)(const LinearGroupedArgs&) noexcept;
  void (*linear_i4_group)(const LinearGroupedArgs&) noexcept;
  void (*quantize_rows)(const QuantizeArgs&) noexcept;
  void (*attention)(const AttentionArgs&) noexcept;
  void (*layer_norm)(const LayerNormArgs&) noexcept;
  void (*affine)(const RowsArgs&, const float* gamma, const float* beta) noexcept;
  void (*activation)(const RowsArgs&, Activation function) noexcept;
  void (*add)(const RowsArgs&, const float* other, size_t other_stride) noexcept;
};

// All tables that this processor can run, best first; the last is "scalar", plain C++ in the same
// order of operations. The environment variable THIMBLE_ISA=name makes BestKernels take that one.
std::span<const Kernels* const> AvailableKernels();
const Kernels* FindKernels(std::string_view name);  // null if this processor or build has none
const Kernels& BestKernels();

}  // namespace thimble
