#include "thimble/train/kernels/kernels.h"

#include "thimble/runtime/kernels/hwy_targets.h"  // IWYU pragma: keep

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "thimble/train/kernels/kernels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

#include "thimble/train/kernels/activation-inl.h"
#include "thimble/train/kernels/attention-inl.h"
#include "thimble/train/kernels/dropout-inl.h"
#include "thimble/train/kernels/norms-inl.h"
#include "thimble/train/kernels/optimizer-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

constexpr TrainKernels MakeTrainKernels(std::string_view name) {
  return {.name = name,
          .fused = kFused,
          .dropout = Dropout,
          .attention_forward = AttentionForward,
          .attention_backward = AttentionBackward,
          .layer_norm_forward = LayerNormForward,
          .layer_norm_backward = LayerNormBackward,
          .affine_forward = AffineForward,
          .affine_backward = AffineBackward,
          .activation_forward = ActivationForward,
          .activation_backward = ActivationBackward,
          .add_column_sums = AddColumnSums,
          .scatter_add_rows = ScatterAddRows,
          .adamw = AdamW,
          .add_scaled = AddScaled,
          .sum_of_squares = SumOfSquares};
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cmath>
#include <cstdlib>
#include <vector>

#include "thimble/runtime/kernels/cpu.h"

namespace thimble {
namespace {

struct Entry {
  TrainKernels kernels;
  bool (*supported)();
};

constexpr Entry kEntries[] = {
#if HWY_TARGETS & HWY_AVX3
    {N_AVX3::MakeTrainKernels("avx512"), CpuHasAvx512},
#endif
#if HWY_TARGETS & HWY_AVX2
    {N_AVX2::MakeTrainKernels("avx2"), CpuHasAvx2},
#endif
#if HWY_TARGETS & HWY_SSE4
    {N_SSE4::MakeTrainKernels("sse4"), CpuHasSse4},
#endif
#if HWY_TARGETS & HWY_NEON
    {N_NEON::MakeTrainKernels("neon"), CpuHasNeon},
#endif
#if HWY_TARGETS & HWY_WASM
    {N_WASM::MakeTrainKernels("wasm"), [] { return true; }},
#endif
    {N_SCALAR::MakeTrainKernels("scalar"), [] { return true; }},
};

std::vector<const TrainKernels*> Supported() {
  std::vector<const TrainKernels*> tables;
  for (const Entry& entry : kEntries) {
    if (entry.supported()) tables.push_back(&entry.kernels);
  }
  return tables;
}

}  // namespace

uint32_t RandomBits(uint32_t row_key, uint32_t column) {
  const uint32_t mix = MixBits(row_key, MixNumber(column));
  return TakesHighHalf(column) ? mix >> 16 : mix & 0xFFFF;
}

uint32_t MixKeys(uint32_t a, uint32_t b) { return MixBits(MixBits(0, a), b); }

int32_t DropoutThreshold(float probability) {
  return static_cast<int32_t>(std::lround(probability * 0x1p16f));
}

size_t AttentionKeptFloats(const AttentionShape& shape) {
  size_t floats = 0;
  ForEachSequence(shape, [&](const SequencePlace& at) {
    floats = at.kept + shape.heads * at.queries * ScoreStride(at.keys);
  });
  return floats;
}

std::span<const TrainKernels* const> AvailableTrainKernels() {
  static const std::vector<const TrainKernels*> tables = Supported();
  return tables;
}

const TrainKernels* FindTrainKernels(std::string_view name) {
  for (const TrainKernels* table : AvailableTrainKernels()) {
    if (name.substr(0, name.find('_')) == table->name) return table;
  }
  return nullptr;
}

const TrainKernels& BestTrainKernels() {
  const char* wanted = std::getenv("THIMBLE_ISA");
  const TrainKernels* found = wanted != nullptr ? FindTrainKernels(wanted) : nullptr;
  return found != nullptr ? *found : *AvailableTrainKernels().front();
}

}  // namespace thimble
#endif  // HWY_ONCE
