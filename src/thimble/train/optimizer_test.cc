#include "thimble/train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "thimble/train/test_models.h"

namespace thimble::train {
namespace {

// Against the update as the paper writes it, in double.
TEST(Optimizer, IsAdamWWithClipping) {
  ParameterSet parameters = ParameterSet::Create(SmallBert());
  const OptimizerOptions options{.weight_decay = 0.1, .clip_norm = 1.0};
  Optimizer optimizer(parameters, options);
  ThreadPool pool(2);
  const int64_t n = parameters.values().numel();
  std::vector<double> w(static_cast<size_t>(n)), m(w.size(), 0.0), v(w.size(), 0.0);
  const float* values = parameters.values().data_ptr<float>();
  std::copy(values, values + n, w.begin());
  std::vector<bool> decays(w.size(), false), real(w.size(), false);
  for (const Parameter& p : std::as_const(parameters).parameters()) {
    for (int64_t i = p.offset; i < p.offset + p.count; ++i) {
      decays[static_cast<size_t>(i)] = p.decays;
      real[static_cast<size_t>(i)] = true;
    }
  }
  for (int step = 1; step <= 5; ++step) {
    at::Tensor gradients = at::zeros_like(parameters.values());
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (!real[static_cast<size_t>(i)]) continue;
      const auto g = static_cast<float>(std::sin(0.37 * static_cast<double>(i) + step));
      gradients.data_ptr<float>()[i] = g;
      squares += static_cast<double>(g) * static_cast<double>(g);
    }
    const double norm = optimizer.GradientNorm(gradients, pool);
    EXPECT_NEAR(norm, std::sqrt(squares), 1e-9 * std::sqrt(squares));
    optimizer.Step(gradients, 0.01, norm, pool);
    for (size_t i = 0; i < w.size(); ++i) {
      if (!real[i]) continue;
      const double g = static_cast<double>(gradients.data_ptr<float>()[i]) / norm;
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.9, step));
      const double v_hat = v[i] / (1 - std::pow(0.999, step));
      if (decays[i]) w[i] -= 0.01 * 0.1 * w[i];
      w[i] -= 0.01 * m_hat / (std::sqrt(v_hat) + 1e-8);
    }
  }
  // A step has the size of the rate whatever the gradient's; of float32 moments about 1e-5 of it is lost.
  for (size_t i = 0; i < w.size(); ++i) {
    if (!real[i]) continue;
    ASSERT_NEAR(static_cast<double>(values[i]), w[i], 5 * 0.01 * 1e-4) << i;
  }
}

TEST(Optimizer, LeavesParametersWithoutARateAlone) {
  ParameterSet parameters = ParameterSet::Create(SmallBert());
  Parameter& frozen = parameters.parameters()[3];
  frozen.rate_factor = 0;
  Optimizer optimizer(parameters, {});
  ThreadPool pool(1);
  const at::Tensor before = parameters.values().clone();
  const at::Tensor gradients = at::ones_like(before);
  optimizer.Step(gradients, 0.1, optimizer.GradientNorm(gradients, pool), pool);
  const at::Tensor changed = (parameters.values() != before);
  EXPECT_FALSE(changed.narrow(0, frozen.offset, frozen.count).any().item<bool>());
  const Parameter& other = parameters.parameters()[4];
  EXPECT_TRUE(changed.narrow(0, other.offset, other.count).all().item<bool>());
}

TEST(Optimizer, SeesWhatIsNotFinite) {
  ParameterSet parameters = ParameterSet::Create(SmallBert());
  Optimizer optimizer(parameters, {});
  ThreadPool pool(1);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    at::Tensor gradients = at::zeros_like(parameters.values());
    gradients.data_ptr<float>()[100] = bad;
    EXPECT_FALSE(std::isfinite(optimizer.GradientNorm(gradients, pool)));
  }
}

TEST(Optimizer, AveragesWeights) {
  ParameterSet parameters = ParameterSet::Create(SmallBert());
  Optimizer optimizer(parameters, {.average_decay = 0.5});
  ThreadPool pool(1);
  const at::Tensor before = parameters.values().clone();
  const at::Tensor gradients = at::ones_like(before);
  optimizer.Step(gradients, 0.1, 1.0, pool);
  // The first average keeps min(0.5, 2 / 11) of what was.
  const at::Tensor want = before * (2.0 / 11) + parameters.values() * (9.0 / 11);
  EXPECT_LT((optimizer.Evaluated() - want).abs().max().item<double>(), 1e-6);
}

}  // namespace
}  // namespace thimble::train
