#include "thimble/train/expressions.h"

#include <algorithm>
#include <cmath>

#include "thimble/train/kernels/kernels.h"

namespace thimble::train {
namespace {

// A key for rows that stand for a whole sequence: no token has this position.
constexpr uint32_t kSequencePosition = 0xffffffffu;

at::Tensor ToDevice(std::span<const int64_t> values, at::Device device) {
  const at::Tensor cpu = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), cpu.data_ptr<int64_t>());
  return cpu.to(device);
}

// 1 / (1 - probability) where an element is kept, else 0; by the definition of dropout.
at::Tensor KeepMask(std::span<const uint32_t> row_keys, int64_t width, double probability,
                    at::Device device) {
  const auto threshold = static_cast<uint32_t>(std::lround(probability * 65536));
  const auto scale = static_cast<float>(1 / (1 - probability));
  const at::Tensor mask = at::empty({static_cast<int64_t>(row_keys.size()), width}, at::kFloat);
  float* out = mask.data_ptr<float>();
  for (const uint32_t key : row_keys) {
    for (int64_t c = 0; c < width; ++c) {
      *out++ = RandomBits(key, static_cast<uint32_t>(c)) >= threshold ? scale : 0.0f;
    }
  }
  return mask.to(device);
}

// A mask over [sequences, heads, queries, keys] in the rectangle: row (s, i), column h * keys + j as the
// packed form counts them.
at::Tensor AttentionKeepMask(const RunContext& run, const RunContext::Padded& p, bool per_token,
                             int64_t heads, double probability, uint32_t site) {
  const auto threshold = static_cast<uint32_t>(std::lround(probability * 65536));
  const auto scale = static_cast<float>(1 / (1 - probability));
  const std::vector<uint32_t> keys =
      run.RowKeys(per_token ? Rows::kTokens : Rows::kSequences, site);
  const int64_t queries = per_token ? p.length : 1;
  const at::Tensor mask = at::ones({p.sequences, heads, queries, p.length}, at::kFloat);
  float* out = mask.data_ptr<float>();
  for (int64_t s = 0; s < p.sequences; ++s) {
    const int64_t first = run.offsets()[static_cast<size_t>(s)];
    const int64_t length = run.offsets()[static_cast<size_t>(s) + 1] - first;
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < (per_token ? length : 1); ++i) {
        const uint32_t key = keys[static_cast<size_t>(per_token ? first + i : s)];
        for (int64_t j = 0; j < length; ++j) {
          const bool kept = RandomBits(key, static_cast<uint32_t>(h * length + j)) >= threshold;
          out[((s * heads + h) * queries + i) * p.length + j] = kept ? scale : 0.0f;
        }
      }
    }
  }
  return mask.to(run.device());
}

}  // namespace

RunContext::RunContext(const PackedBatch& batch, at::Device device,
                       std::span<const uint32_t> sequence_keys, uint32_t step_key)
    : offsets_(batch.offsets.begin(), batch.offsets.end()),
      mask_(batch.mask.begin(), batch.mask.end()),
      device_(device),
      sequence_keys_(sequence_keys.begin(), sequence_keys.end()),
      step_key_(step_key) {
  if (sequence_keys_.empty()) return;
  token_keys_.reserve(tokens());
  for (size_t s = 0; s < sequences(); ++s) {
    const auto length = static_cast<uint32_t>(offsets_[s + 1] - offsets_[s]);
    for (uint32_t position = 0; position < length; ++position) {
      token_keys_.push_back(MixKeys(sequence_keys_[s], position));
    }
  }
  for (uint32_t& key : sequence_keys_) key = MixKeys(key, kSequencePosition);
}

std::vector<uint32_t> RunContext::RowKeys(Rows rows, uint32_t site) const {
  std::vector<uint32_t> keys = rows == Rows::kTokens ? token_keys_ : sequence_keys_;
  const uint32_t place = MixKeys(step_key_, site);
  for (uint32_t& key : keys) key = MixKeys(key, place);
  return keys;
}

const RunContext::Padded& RunContext::padded() const {
  if (padded_) return *padded_;
  auto p = std::make_unique<Padded>();
  p->sequences = static_cast<int64_t>(sequences());
  for (size_t s = 0; s < sequences(); ++s) {
    p->length = std::max<int64_t>(p->length, offsets_[s + 1] - offsets_[s]);
  }
  const auto places = static_cast<size_t>(p->sequences * p->length);
  std::vector<int64_t> gather(places, 0), scatter(tokens());
  const at::Tensor valid = at::zeros({p->sequences, p->length}, at::kBool);
  const at::Tensor attend = at::zeros({p->sequences, p->length}, at::kBool);
  const at::Tensor any = at::zeros({p->sequences}, at::kBool);
  for (size_t s = 0; s < sequences(); ++s) {
    const auto first = static_cast<size_t>(offsets_[s]), end = static_cast<size_t>(offsets_[s + 1]);
    const bool some = mask_.empty() || std::any_of(mask_.begin() + static_cast<int64_t>(first),
                                                   mask_.begin() + static_cast<int64_t>(end),
                                                   [](uint8_t m) { return m != 0; });
    any.data_ptr<bool>()[s] = some;
    for (size_t t = first; t < end; ++t) {
      const size_t place = s * static_cast<size_t>(p->length) + (t - first);
      gather[place] = static_cast<int64_t>(t);
      scatter[t] = static_cast<int64_t>(place);
      valid.data_ptr<bool>()[place] = true;
      attend.data_ptr<bool>()[place] = !some || mask_.empty() || mask_[t] != 0;
    }
  }
  p->gather = ToDevice(gather, device_);
  p->scatter = ToDevice(scatter, device_);
  p->valid = valid.to(device_);
  p->attend = attend.to(device_);
  p->any = any.to(device_);
  padded_ = std::move(p);
  return *padded_;
}

Expression ExpressionOf(OpKind op, bool plain) {
  static constexpr Expression kPlain[] = {
#define OP(enumerator, name, file, stem, attributes) plain::stem,
#include "thimble/graph/ops.inc"
#undef OP
  };
  if (!plain) {
    switch (op) {
      case OpKind::kEmbedding:
        return fast::Embedding;
      case OpKind::kLinear:
        return fast::Linear;
      case OpKind::kAttention:
        return fast::Attention;
      case OpKind::kLayerNorm:
        return fast::LayerNorm;
      case OpKind::kAffine:
        return fast::Affine;
      case OpKind::kActivation:
        return fast::Activation;
      case OpKind::kAdd:
        return fast::Add;
      default:
        break;
    }
  }
  return kPlain[static_cast<size_t>(op)];
}

at::Tensor DropoutRows(const at::Tensor& x, double probability, Rows rows, uint32_t site,
                       const std::shared_ptr<const RunContext>& run, bool plain) {
  if (!plain) return fast::Dropout(x, probability, rows, site, run);
  return x * KeepMask(run->RowKeys(rows, site), x.size(1), probability, x.device());
}

at::Tensor SelectRows(const at::Tensor& x, std::span<const int64_t> rows) {
  return x.index_select(0, ToDevice(rows, x.device()));
}

namespace plain {

at::Tensor PositionIds(const OpCall& call) {
  const auto& attrs = call.attr<PositionIdsAttrs>();
  const at::Tensor ids = call.inputs[0].cpu();
  const at::Tensor positions = at::empty_like(ids);
  const auto* id = ids.data_ptr<int32_t>();
  auto* out = positions.data_ptr<int32_t>();
  const std::span<const int32_t> offsets = call.run->offsets();
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    int64_t next = attrs.offset;
    for (int32_t t = offsets[s]; t < offsets[s + 1]; ++t) {
      const bool skipped = attrs.skip_id >= 0 && id[t] == attrs.skip_id;
      out[t] = static_cast<int32_t>(skipped ? attrs.offset - 1 : next++);
    }
  }
  return positions.to(call.inputs[0].device());
}

at::Tensor Embedding(const OpCall& call) {
  return call.weights[0].value.index_select(0, call.inputs[0]);
}

// Next, current and previous token side by side; row `tokens` of the padded matrix is the zero beyond an end.
at::Tensor Trigram(const OpCall& call) {
  const at::Tensor& x = call.inputs[0];
  const auto tokens = x.size(0);
  std::vector<int64_t> next(static_cast<size_t>(tokens)), previous(static_cast<size_t>(tokens));
  const std::span<const int32_t> offsets = call.run->offsets();
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    for (int32_t t = offsets[s]; t < offsets[s + 1]; ++t) {
      next[static_cast<size_t>(t)] = t + 1 < offsets[s + 1] ? t + 1 : tokens;
      previous[static_cast<size_t>(t)] = t > offsets[s] ? t - 1 : tokens;
    }
  }
  const at::Tensor rows = at::cat({x, at::zeros({1, x.size(1)}, x.options())});
  return at::cat({SelectRows(rows, next), x, SelectRows(rows, previous)}, 1);
}

at::Tensor Linear(const OpCall& call) {
  const at::Tensor bias = call.weights.size() > 1 ? call.weights[1].value : at::Tensor();
  if (call.products == at::kFloat) return at::linear(call.inputs[0], call.weights[0].value, bias);
  const at::Tensor out =
      at::linear(call.inputs[0].to(call.products), call.weights[0].value.to(call.products))
          .to(at::kFloat);
  return bias.defined() ? out + bias : out;
}

at::Tensor Attention(const OpCall& call) {
  const auto& attrs = call.attr<AttentionAttrs>();
  const RunContext::Padded& p = call.run->padded();
  const bool per_token = call.input_rows == Rows::kTokens;
  const auto heads = [&](const at::Tensor& x, bool tokens) {
    const at::Tensor rows = tokens ? x.index_select(0, p.gather) : x;
    return rows.view({p.sequences, -1, attrs.heads, x.size(1) / attrs.heads}).transpose(1, 2);
  };
  const at::Tensor q = heads(call.inputs[0], per_token);
  const at::Tensor k = heads(call.inputs[1], true), v = heads(call.inputs[2], true);
  at::Tensor scores = at::matmul(q, k.transpose(2, 3)) * attrs.scale;
  scores = scores.masked_fill(p.any.logical_not().view({-1, 1, 1, 1}), 0);
  scores = scores.masked_fill(p.attend.logical_not().view({p.sequences, 1, 1, p.length}),
                              -std::numeric_limits<float>::infinity());
  at::Tensor probabilities = scores.softmax(-1);
  if (call.dropout > 0) {
    probabilities = probabilities * AttentionKeepMask(*call.run, p, per_token, attrs.heads,
                                                      call.dropout, call.site);
  }
  const at::Tensor out =
      at::matmul(probabilities, v).transpose(1, 2).reshape({-1, call.inputs[2].size(1)});
  return per_token ? out.index_select(0, p.scatter) : out;
}

at::Tensor LayerNorm(const OpCall& call) {
  return at::layer_norm(call.inputs[0], {call.inputs[0].size(1)}, call.weights[0].value,
                        call.weights[1].value, call.attr<LayerNormAttrs>().epsilon);
}

at::Tensor Affine(const OpCall& call) {
  return call.inputs[0] * call.weights[0].value + call.weights[1].value;
}

at::Tensor Activation(const OpCall& call) {
  const at::Tensor& x = call.inputs[0];
  switch (call.attr<ActivationAttrs>().function) {
    case thimble::Activation::kIdentity:
      return x;
    case thimble::Activation::kRelu:
      return at::relu(x);
    case thimble::Activation::kRelu6:
      return at::clamp(x, 0, 6);
    case thimble::Activation::kRelu2:
      return at::relu(x).square();
    case thimble::Activation::kGelu:
      return at::gelu(x);
    case thimble::Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case thimble::Activation::kQuickGelu:
      return x * at::sigmoid(1.702 * x);
    case thimble::Activation::kGelu10:
      return at::clamp(at::gelu(x), -10, 10);
    case thimble::Activation::kLeakyRelu:
      return at::leaky_relu(x, 0.01);
    case thimble::Activation::kSilu:
      return at::silu(x);
    case thimble::Activation::kMish:
      return at::mish(x);
    case thimble::Activation::kSigmoid:
      return at::sigmoid(x);
    case thimble::Activation::kTanh:
      return at::tanh(x);
  }
  return x;
}

at::Tensor Add(const OpCall& call) {
  if (call.dropout == 0) return call.inputs[0] + call.inputs[1];
  const auto dropped = static_cast<size_t>(call.dropped);
  return call.inputs[1 - dropped] + DropoutRows(call.inputs[dropped], call.dropout, call.input_rows,
                                                call.site, call.run,
                                                /*plain=*/true);
}

at::Tensor Pool(const OpCall& call) {
  const at::Tensor& x = call.inputs[0];
  const RunContext& run = *call.run;
  if (call.attr<PoolAttrs>().kind == PoolKind::kFirst) {
    return SelectRows(x, std::vector<int64_t>(run.offsets().begin(), run.offsets().end() - 1));
  }
  // Masked sum over the rectangle; where all tokens are masked the mean is 0.
  const RunContext::Padded& p = run.padded();
  const at::Tensor counts = p.attend.logical_and(p.any.view({-1, 1})).to(at::kFloat).unsqueeze(2);
  const at::Tensor rows = x.index_select(0, p.gather).view({p.sequences, p.length, x.size(1)});
  return (rows * counts).sum(1) / counts.sum(1).clamp_min(1);
}

at::Tensor L2Normalize(const OpCall& call) {
  const at::Tensor& x = call.inputs[0];
  const at::Tensor squares = x.square().sum(1, /*keepdim=*/true);
  // The square root has no gradient at 0; such a row stays 0.
  const at::Tensor zero = squares == 0;
  return x / squares.masked_fill(zero, 1).sqrt();
}

}  // namespace plain
}  // namespace thimble::train
