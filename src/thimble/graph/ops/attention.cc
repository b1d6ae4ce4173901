#include <algorithm>
#include <cmath>
#include <limits>

#include "thimble/graph/ops/check.h"
#include "thimble/graph/ops/table.h"

namespace thimble {
namespace {

ValueType OutputType(const OpContext& c) {
  return {Element::kFloat32, c.inputs[0].rows, c.inputs[2].width};
}

// softmax(scale * q k^T) over the keys of one sequence; all keys alike where all are masked.
std::vector<double> Probabilities(const float* q, const float* k, size_t stride, size_t width,
                                  size_t keys, double scale, const uint8_t* mask) {
  const bool any =
      mask == nullptr || std::any_of(mask, mask + keys, [](uint8_t m) { return m != 0; });
  std::vector<double> p(keys, 0.0);
  double max = -std::numeric_limits<double>::infinity();
  const auto counts = [&](size_t j) { return mask == nullptr || mask[j] != 0; };
  for (size_t j = 0; j < keys; ++j) {
    double score = 0;
    for (size_t d = 0; d < width; ++d) score += static_cast<double>(q[d]) * k[j * stride + d];
    p[j] = any ? score * scale : 0.0;
    if (!any || counts(j)) max = std::max(max, p[j]);
  }
  double sum = 0;
  for (size_t j = 0; j < keys; ++j) {
    p[j] = !any || counts(j) ? std::exp(p[j] - max) : 0.0;
    sum += p[j];
  }
  for (double& x : p) x /= sum;
  return p;
}

}  // namespace

Result<ValueType> InferAttention(const OpContext& c) {
  TRY_VOID(CheckInputCount(c, 3));
  TRY_VOID(CheckWeightCount(c, 0, 0));
  TRY_VOID(CheckFloatInputs(c));
  const int64_t heads = c.attr<AttentionAttrs>().heads;
  if (c.inputs[1].rows != Rows::kTokens || c.inputs[2].rows != Rows::kTokens) {
    return InvalidData("keys and values must have one row per token");
  }
  if (c.inputs[0].width != c.inputs[1].width) {
    return InvalidData("queries have width " + std::to_string(c.inputs[0].width) + ", keys " +
                       std::to_string(c.inputs[1].width));
  }
  if (heads <= 0 || c.inputs[0].width % heads != 0 || c.inputs[2].width % heads != 0) {
    return InvalidData("widths " + std::to_string(c.inputs[0].width) + " and " +
                       std::to_string(c.inputs[2].width) + " do not divide into " +
                       std::to_string(heads) + " heads");
  }
  if (!std::isfinite(c.attr<AttentionAttrs>().scale)) return InvalidData("its scale is not finite");
  return OutputType(c);
}

Cost CostAttention(const OpContext& c, const Workload& workload) {
  const double keys =
      static_cast<double>(workload.tokens) / static_cast<double>(workload.sequences);
  const auto queries = static_cast<double>(workload.rows(c.inputs[0].rows));
  return {queries * keys * static_cast<double>(c.inputs[0].width + c.inputs[2].width), 0};
}

Result<ReferenceValue> ReferenceAttention(const OpContext& c, const PackedBatch& batch,
                                          std::span<const ReferenceValue* const> inputs) {
  const auto& attrs = c.attr<AttentionAttrs>();
  const auto heads = static_cast<size_t>(attrs.heads);
  const auto stride = static_cast<size_t>(c.inputs[0].width);
  const auto value_stride = static_cast<size_t>(c.inputs[2].width);
  const size_t width = stride / heads, value_width = value_stride / heads;
  const bool per_token = c.inputs[0].rows == Rows::kTokens;
  ReferenceValue out = MakeFloats(OutputType(c), batch.rows(c.inputs[0].rows));
  for (size_t s = 0; s < batch.sequences(); ++s) {
    const auto first = static_cast<size_t>(batch.offsets[s]);
    const size_t keys = static_cast<size_t>(batch.offsets[s + 1]) - first;
    const uint8_t* mask = batch.mask.empty() ? nullptr : batch.mask.data() + first;
    for (size_t i = 0; i < (per_token ? keys : 1); ++i) {
      const size_t row = per_token ? first + i : s;
      for (size_t h = 0; h < heads; ++h) {
        const std::vector<double> p =
            Probabilities(inputs[0]->floats.data() + row * stride + h * width,
                          inputs[1]->floats.data() + first * stride + h * width, stride, width,
                          keys, attrs.scale, mask);
        for (size_t d = 0; d < value_width; ++d) {
          const float* v = inputs[2]->floats.data() + first * value_stride + h * value_width + d;
          double sum = 0;
          for (size_t j = 0; j < keys; ++j) sum += p[j] * v[j * value_stride];
          out.floats[row * value_stride + h * value_width + d] = static_cast<float>(sum);
        }
      }
    }
  }
  return out;
}

}  // namespace thimble
