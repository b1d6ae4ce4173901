#include "thimble/train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "thimble/train/kernels/kernels.h"

namespace thimble::train {
namespace {

constexpr int64_t kChunk = int64_t{1} << 16;  // floats that one thread takes at a time

int64_t Chunks(int64_t count) { return (count + kChunk - 1) / kChunk; }

bool OnProcessor(const at::Tensor& t) { return t.device().is_cpu(); }

// The same update in torch expressions, for other devices.
void PlainStep(const Parameter& p, const AdamWArgs& a, const at::Tensor& gradient, at::Tensor value,
               at::Tensor first, at::Tensor second) {
  const at::Tensor g = gradient * a.gradient_scale;
  first.mul_(a.beta1).add_(g, 1 - a.beta1);
  second.mul_(a.beta2).addcmul_(g, g, 1 - a.beta2);
  if (p.decays) value.mul_(1 - static_cast<double>(a.rate) * static_cast<double>(a.decay));
  const at::Tensor scaled = (second / a.correction2).sqrt_().add_(a.epsilon);
  value.addcdiv_(first, scaled, -a.rate / a.correction1);
}

}  // namespace

Optimizer::Optimizer(ParameterSet& parameters, const OptimizerOptions& options)
    : parameters_(&parameters), options_(options) {
  state_.first = at::zeros_like(parameters.values());
  state_.second = at::zeros_like(parameters.values());
  if (options.average_decay > 0) state_.average = parameters.values().clone();
}

double Optimizer::GradientNorm(const at::Tensor& gradients, ThreadPool& pool) const {
  if (!OnProcessor(gradients)) return gradients.norm().item<double>();
  const int64_t count = gradients.numel();
  const float* g = gradients.data_ptr<float>();
  std::vector<double> sums(static_cast<size_t>(Chunks(count)), 0.0);
  pool.ParallelFor(sums.size(), [&](size_t i, size_t) {
    const auto begin = static_cast<int64_t>(i) * kChunk;
    sums[i] = BestTrainKernels().sum_of_squares(
        g + begin, static_cast<size_t>(std::min(kChunk, count - begin)));
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

void Optimizer::Step(const at::Tensor& gradients, double rate, double norm, ThreadPool& pool) {
  const c10::AutoGradMode no_recording(false);
  ++state_.step;
  const auto step = static_cast<double>(state_.step);
  AdamWArgs args;
  args.beta1 = static_cast<float>(options_.beta1);
  args.beta2 = static_cast<float>(options_.beta2);
  args.epsilon = static_cast<float>(options_.epsilon);
  args.correction1 = static_cast<float>(1 - std::pow(options_.beta1, step));
  args.correction2 = static_cast<float>(1 - std::pow(options_.beta2, step));
  if (options_.clip_norm > 0 && norm > options_.clip_norm) {
    args.gradient_scale = static_cast<float>(options_.clip_norm / norm);
  }
  const auto of = [&](const Parameter& p) {
    AdamWArgs a = args;
    a.rate = static_cast<float>(rate * p.rate_factor);
    a.decay = p.decays ? static_cast<float>(options_.weight_decay) : 0.0f;
    return a;
  };
  at::Tensor& values = parameters_->values();
  const std::span<const Parameter> parameters = std::as_const(*parameters_).parameters();
  if (OnProcessor(values)) {
    struct Piece {
      const Parameter* parameter;
      int64_t begin, count;  // floats in the buffer
    };
    std::vector<Piece> pieces;
    for (const Parameter& p : parameters) {
      if (!p.trainable || p.rate_factor == 0) continue;
      for (int64_t at = 0; at < p.count; at += kChunk) {
        pieces.push_back({&p, p.offset + at, std::min(kChunk, p.count - at)});
      }
    }
    pool.ParallelFor(pieces.size(), [&](size_t i, size_t) {
      const Piece& piece = pieces[i];
      AdamWArgs a = of(*piece.parameter);
      a.weights = values.data_ptr<float>() + piece.begin;
      a.gradients = gradients.data_ptr<float>() + piece.begin;
      a.first = state_.first.data_ptr<float>() + piece.begin;
      a.second = state_.second.data_ptr<float>() + piece.begin;
      a.count = static_cast<size_t>(piece.count);
      BestTrainKernels().adamw(a);
    });
  } else {
    for (const Parameter& p : parameters) {
      if (!p.trainable || p.rate_factor == 0) continue;
      const auto slice = [&](const at::Tensor& t) { return t.narrow(0, p.offset, p.count); };
      PlainStep(p, of(p), slice(gradients), slice(values), slice(state_.first),
                slice(state_.second));
    }
  }
  if (state_.average.defined()) {
    // Young averages follow faster: min(decay, (1 + t) / (10 + t)).
    const double decay = std::min(options_.average_decay, (1 + step) / (10 + step));
    state_.average.lerp_(values, 1 - decay);
  }
}

const at::Tensor& Optimizer::Evaluated() const {
  return state_.average.defined() ? state_.average : parameters_->values();
}

}  // namespace thimble::train
