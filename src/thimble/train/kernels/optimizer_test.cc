// AdamW over several steps, scaled addition and the sum of squares against double.
#include "thimble/train/kernels/test_support.h"

namespace thimble {
namespace {

void CheckAdamW(size_t count) {
  SCOPED_TRACE("count " + std::to_string(count));
  constexpr size_t kSteps = 10;
  constexpr float kRate = 0.01f, kBeta1 = 0.9f, kBeta2 = 0.999f, kEpsilon = 1e-8f, kDecay = 0.1f,
                  kScale = 0.7f;
  const auto start = GuardedMatrix::Random(1, count, count, 1, 1);
  const auto gradients = GuardedMatrix::Random(kSteps, count, count, 2, 2);
  const auto correction = [](double beta, size_t step) {
    return static_cast<float>(1 - std::pow(beta, static_cast<double>(step)));
  };
  ForEachTrainTable(
      [&](const TrainKernels& table) {
        GuardedMatrix weights = start, first(1, count, count, 3), second(1, count, count);
        for (size_t i = 0; i < count; ++i) first.at(0, i) = second.at(0, i) = 0;
        for (size_t step = 1; step <= kSteps; ++step) {
          table.adamw({.weights = weights.data(),
                       .first = first.data(),
                       .second = second.data(),
                       .gradients = gradients.data() + (step - 1) * count,
                       .count = count,
                       .gradient_scale = kScale,
                       .rate = kRate,
                       .beta1 = kBeta1,
                       .beta2 = kBeta2,
                       .epsilon = kEpsilon,
                       .decay = kDecay,
                       .correction1 = correction(kBeta1, step),
                       .correction2 = correction(kBeta2, step)});
        }
        return Outputs{weights, first, second};
      },
      [&](const TrainKernels&, const Outputs& out) {
        Worst weights("weights"), firsts("first moments"), seconds("second moments");
        for (size_t i = 0; i < count; ++i) {
          double w = start.at(0, i), m = 0, v = 0, m_size = 0, bound = 0;
          for (size_t step = 1; step <= kSteps; ++step) {
            const double k = static_cast<double>(step);
            const double g = static_cast<double>(kScale) * gradients.at(step - 1, i);
            const double beta1 = kBeta1, beta2 = kBeta2;
            m = beta1 * m + (1 - beta1) * g;
            m_size = beta1 * m_size + (1 - beta1) * std::abs(g);
            v = beta2 * v + (1 - beta2) * g * g;
            const double size = std::sqrt(v / correction(kBeta2, step)) + kEpsilon;
            const double rate = kRate / static_cast<double>(correction(kBeta1, step));
            w = w * (1 - static_cast<double>(kRate) * kDecay) - rate * m / size;
            // The moments round three and five times a step, the second one's error enters by half;
            // then the rate, root, sum and quotient; last the weight, shrunk and stepped.
            const double direction = 3 * k * m_size / size + (2.5 * k + 8) * std::abs(m) / size;
            bound += (rate * direction + 3 * std::abs(w) + 3 * rate * m_size / size) * kRoundoff;
          }
          weights.Add(0, i, out[0].at(0, i), w, bound);
          firsts.Add(0, i, out[1].at(0, i), m, 3 * kSteps * kRoundoff * m_size);
          seconds.Add(0, i, out[2].at(0, i), v, 5 * kSteps * kRoundoff * v);
        }
      });
}

TEST(AdamW, TenSteps) {
  for (const size_t count : TestedSizes()) CheckAdamW(count);
}

TEST(AdamW, StandsStillWithoutGradientsAndDecay) {
  for (const TrainKernels* table : AvailableTrainKernels()) {
    std::vector<float> w(20, 1.5f), first(20, 0), second(20, 0), g(20, 0);
    table->adamw({.weights = w.data(),
                  .first = first.data(),
                  .second = second.data(),
                  .gradients = g.data(),
                  .count = 20,
                  .rate = 1});
    for (const float v : w) EXPECT_EQ(v, 1.5f) << table->name;
  }
}

TEST(AddScaled, RoundsAsStated) {
  for (size_t count : TestedSizes()) {
    const auto x = GuardedMatrix::Random(1, count, count, 1, 1);
    const auto start = GuardedMatrix::Random(1, count, count, 2, 2);
    ForEachTrainTable(
        [&](const TrainKernels& table) {
          GuardedMatrix y = start;
          table.add_scaled(x.data(), -0.3f, y.data(), count);
          return Outputs{y};
        },
        [&](const TrainKernels& table, const Outputs& y) {
          for (size_t i = 0; i < count; ++i) {
            const float product = -0.3f * x.at(0, i);
            ASSERT_EQ(y[0].at(0, i), table.fused ? std::fma(-0.3f, x.at(0, i), start.at(0, i))
                                                 : product + start.at(0, i));
          }
        });
  }
}

TEST(SumOfSquares, IsTheSameEverywhere) {
  for (size_t count : TestedSizes()) {
    const auto x = GuardedMatrix::Random(1, count, count, 1, count % 7);
    long double expected = 0;
    for (size_t i = 0; i < count; ++i) {
      expected += static_cast<long double>(x.at(0, i)) * x.at(0, i);
    }
    const double first = BestTrainKernels().sum_of_squares(x.data(), count);
    for (const TrainKernels* table : AvailableTrainKernels()) {
      const double sum = table->sum_of_squares(x.data(), count);
      EXPECT_EQ(sum, first) << table->name;
      // A chain of every 16th square, then four additions.
      const double roundings = static_cast<double>(count) / 16 + 5;
      EXPECT_NEAR(sum, static_cast<double>(expected),
                  roundings * 0x1p-53 * static_cast<double>(expected))
          << table->name << ", " << count;
    }
  }
}

TEST(SumOfSquares, HoldsWhatFloatsCannot) {
  const std::vector<float> x(33, 1e30f);
  for (const TrainKernels* table : AvailableTrainKernels()) {
    EXPECT_EQ(table->sum_of_squares(x.data(), 0), 0.0) << table->name;
    const double square = static_cast<double>(1e30f) * 1e30f;
    EXPECT_NEAR(table->sum_of_squares(x.data(), 33), 33 * square, 33 * square * 8 * 0x1p-53);
  }
}

}  // namespace
}  // namespace thimble
