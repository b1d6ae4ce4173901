#include "thimble/runtime/kernels/kernels.h"

#include "thimble/runtime/kernels/hwy_targets.h"  // IWYU pragma: keep

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "thimble/runtime/kernels/kernels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

#include "thimble/runtime/kernels/attention-inl.h"
#include "thimble/runtime/kernels/gemm_amx-inl.h"
#include "thimble/runtime/kernels/gemm_block_sparse-inl.h"
#include "thimble/runtime/kernels/gemm_float-inl.h"
#include "thimble/runtime/kernels/gemm_grouped-inl.h"
#include "thimble/runtime/kernels/gemm_int8-inl.h"
#include "thimble/runtime/kernels/gemm_int8_widened-inl.h"
#include "thimble/runtime/kernels/quantize-inl.h"
#include "thimble/runtime/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

constexpr Kernels MakeKernels(
    std::string_view name,
    void (*linear_int8)(const LinearInt8Args&) noexcept = LinearInt8<DotInt8>) {
  return {.name = name,
          .fused = kFused,
          .linear_f32 = LinearFloat<float>,
          .linear_f16 = LinearFloat<uint16_t>,
          .linear_block_sparse = LinearBlockSparse,
          .linear_int8 = linear_int8,
          .linear_i8_group = LinearGrouped<8>,
          .linear_i4_group = LinearGrouped<4>,
          .quantize_rows = QuantizeRows,
          .attention = Attention,
          .layer_norm = LayerNormRows,
          .affine = AffineRows,
          .activation = ActivateRows,
          .add = AddRows};
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <array>
#include <cstdlib>
#include <iterator>

#include "thimble/runtime/kernels/cpu.h"

namespace thimble {
namespace {

struct Entry {
  Kernels kernels;
  bool (*supported)();
};

// Best first. A table need not be a target of its own: it can be another's with a function
// replaced.
constexpr Entry kEntries[] = {
#if HWY_TARGETS & HWY_AVX3
    {N_AVX3::MakeKernels("avx512_amx", N_AVX3::LinearInt8Amx), CpuHasAmxInt8},
    {N_AVX3::MakeKernels("avx512_vnni", N_AVX3::LinearInt8<N_AVX3::DotInt8Vnni>), CpuHasAvx512Vnni},
    {N_AVX3::MakeKernels("avx512"), CpuHasAvx512},
#endif
#if HWY_TARGETS & HWY_AVX2
    {N_AVX2::MakeKernels("avx2_vnni", N_AVX2::LinearInt8<N_AVX2::DotInt8Vnni>), CpuHasAvxVnni},
    {N_AVX2::MakeKernels("avx2"), CpuHasAvx2},
#endif
#if HWY_TARGETS & HWY_SSE4
    {N_SSE4::MakeKernels("sse4"), CpuHasSse4},
#endif
#if HWY_TARGETS & HWY_NEON
    {N_NEON::MakeKernels("neon"), CpuHasNeon},
#endif
#if HWY_TARGETS & HWY_WASM
    {N_WASM::MakeKernels("wasm", N_WASM::LinearInt8Widened), [] { return true; }},
#endif
    {N_SCALAR::MakeKernels("scalar"), [] { return true; }},
};

struct Supported {
  std::array<const Kernels*, std::size(kEntries)> tables{};
  size_t count = 0;

  Supported() {
    for (const Entry& entry : kEntries) {
      if (entry.supported()) tables[count++] = &entry.kernels;
    }
  }
};

}  // namespace

size_t AttentionScratchFloats(size_t keys, size_t head_width, size_t value_width) {
  return DivideAttentionScratch(keys, head_width, value_width).floats;
}

std::span<const Kernels* const> AvailableKernels() {
  static const Supported supported;
  return std::span(supported.tables).first(supported.count);
}

const Kernels* FindKernels(std::string_view name) {
  for (const Kernels* table : AvailableKernels()) {
    if (table->name == name) return table;
  }
  return nullptr;
}

const Kernels& BestKernels() {
  const char* wanted = std::getenv("THIMBLE_ISA");
  const Kernels* found = wanted != nullptr ? FindKernels(wanted) : nullptr;
  return found != nullptr ? *found : *AvailableKernels().front();
}

}  // namespace thimble
#endif  // HWY_ONCE
