// In which type training multiplies matrices.
//
// bfloat16 has the range of float32 and 8 bits of its precision. Only the products of linears are computed in it, with
// inputs, weights and gradients rounded on the way in; weights, sums of gradients, moments, norms, softmax and losses
// stay float32 (Micikevicius et al., "Mixed Precision Training", 2018; no scaling of the loss is needed, as no exponent is
// lost: Kalamkar et al. 2019). Processors with instructions for it (AVX512-BF16, AMX, Arm's BF16) and GPUs gain from that;
// on others libtorch computes it by way of float32, which takes longer.
#pragma once

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/train/torch.h"

namespace thimble::train {

enum class Precision { kFloat32, kBFloat16 };

// Seconds for all products of a training step's linears on `rows` tokens, measured here on one thread, the faster of a few
// rounds.
struct PrecisionTimes {
  double float32 = 0, bfloat16 = 0;
};

// kResourceExhausted: libtorch cannot multiply bfloat16 on this device.
Result<PrecisionTimes> MeasurePrecisions(const Graph& graph, at::Device device, int64_t rows = 128);

// Below it the cost of rounding elsewhere and noise eat the gain.
inline constexpr double kLeastGain = 1.15;

}  // namespace thimble::train
