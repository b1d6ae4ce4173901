// Layer norm, affine, column sums and scattered rows: forward against the graph's operations,
// gradients against the textbook formulas in double, and those against differences.
#include "thimble/train/kernels/test_support.h"

namespace thimble {
namespace {

constexpr size_t kRows = 7;  // a block of four and three single ones
constexpr float kEpsilon = 1e-5f;

std::vector<float> Plain(const GuardedMatrix& m, size_t rows, size_t width) {
  std::vector<float> values;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < width; ++i) values.push_back(m.at(r, i));
  }
  return values;
}

// What the graph's operation gives for x.
std::vector<float> Reference(OpKind kind, const Attributes& attrs, const GuardedMatrix& x,
                             const GuardedMatrix& gamma, const GuardedMatrix& beta, size_t width) {
  const auto columns = static_cast<int64_t>(width);
  const std::vector<Tensor> weights = {Tensor::FromFloats({columns}, Plain(gamma, 1, width)),
                                       Tensor::FromFloats({columns}, Plain(beta, 1, width))};
  const ReferenceValue input{
      {Element::kFloat32, Rows::kTokens, columns}, Plain(x, kRows, width), {}};
  const std::vector<const ReferenceValue*> inputs = {&input};
  const int32_t offsets[] = {0, kRows};
  auto out = GetOp(kind).reference({attrs, {&input.type, 1}, weights}, {offsets, {}}, inputs);
  EXPECT_TRUE(out.has_value());
  return std::move(out->floats);
}

struct RowStatistics {
  double mean = 0, inverse = 0, largest = 0;
};

RowStatistics Statistics(const GuardedMatrix& x, size_t r, size_t width) {
  RowStatistics s;
  const double n = static_cast<double>(width);
  double variance = 0;
  for (size_t i = 0; i < width; ++i) s.mean += x.at(r, i) / n;
  for (size_t i = 0; i < width; ++i) {
    s.largest = std::max<double>(s.largest, std::abs(x.at(r, i)));
    variance += (x.at(r, i) - s.mean) * (x.at(r, i) - s.mean) / n;
  }
  s.inverse = 1 / std::sqrt(variance + kEpsilon);
  return s;
}

// Errors of the statistics: 16 partial sums, five steps that fold them, one division. The inverse is
// off by half of the variance's error, which has the mean's twice over, and three roundings.
struct StatisticsErrors {
  StatisticsErrors(const RowStatistics& s, size_t width, double roundings_per_term)
      : sum((roundings_per_term * std::ceil(static_cast<double>(width) / 16) + 5) * kRoundoff),
        mean(sum * s.largest),
        inverse(s.inverse *
                (sum + 2 * (mean + kRoundoff * s.largest) * s.inverse + 6 * kRoundoff)) {}
  double sum;            // relative, of a sum of magnitudes
  double mean, inverse;  // absolute
  // Of the normalized element.
  double Normal(const RowStatistics& s, double off) const {
    return mean * s.inverse + std::abs(off) * (inverse + 3 * kRoundoff * s.inverse);
  }
};

TEST(LayerNorm, ForwardIsTheOperation) {
  for (const size_t width : TestedSizes()) {
    SCOPED_TRACE("width " + std::to_string(width));
    const auto x = GuardedMatrix::Random(kRows, width, width, 1, width % 5);
    const auto gamma = GuardedMatrix::Random(1, width, width, 2);
    const auto beta = GuardedMatrix::Random(1, width, width, 3);
    const std::vector<float> expected =
        Reference(OpKind::kLayerNorm, LayerNormAttrs{.epsilon = kEpsilon}, x, gamma, beta, width);
    ForEachTrainTable(
        [&](const TrainKernels& table) {
          GuardedMatrix y(kRows, width, width, 1), mean(1, kRows, kRows), inverse(1, kRows, kRows);
          table.layer_norm_forward({.x = x.data(),
                                    .gamma = gamma.data(),
                                    .beta = beta.data(),
                                    .y = y.data(),
                                    .mean = mean.data(),
                                    .inverse = inverse.data(),
                                    .rows = kRows,
                                    .width = width,
                                    .epsilon = kEpsilon});
          return Outputs{y, mean, inverse};
        },
        [&](const TrainKernels& table, const Outputs& out) {
          Worst values("y"), means("mean"), inverses("inverse");
          for (size_t r = 0; r < kRows; ++r) {
            const RowStatistics s = Statistics(x, r, width);
            const StatisticsErrors errors(s, width, table.fused ? 1 : 2);
            means.Add(0, r, out[1].at(0, r), s.mean, errors.mean + kRoundoff * std::abs(s.mean));
            inverses.Add(0, r, out[2].at(0, r), s.inverse, errors.inverse);
            for (size_t i = 0; i < width; ++i) {
              const double off = x.at(r, i) - s.mean, g = gamma.at(0, i);
              const double bound =
                  errors.Normal(s, off) * std::abs(g) +
                  2 * kRoundoff * (std::abs(off * s.inverse * g) + std::abs(beta.at(0, i)));
              values.Add(r, i, out[0].at(r, i), expected[r * width + i],
                         bound + kRoundoff * std::abs(expected[r * width + i]));
            }
          }
        });
  }
}

// Two passes over a row lose nothing to a mean far from zero.
TEST(LayerNorm, SurvivesALargeMean) {
  constexpr size_t kWidth = 64;
  for (const TrainKernels* table : AvailableTrainKernels()) {
    std::vector<float> x(kWidth), ones(kWidth, 1.0f), zeros(kWidth, 0.0f), y(kWidth);
    for (size_t i = 0; i < kWidth; ++i) x[i] = i % 2 == 0 ? 4096.0f : 4097.0f;
    float mean, inverse;
    table->layer_norm_forward({.x = x.data(),
                               .gamma = ones.data(),
                               .beta = zeros.data(),
                               .y = y.data(),
                               .mean = &mean,
                               .inverse = &inverse,
                               .rows = 1,
                               .width = kWidth});
    EXPECT_EQ(mean, 4096.5f);
    EXPECT_EQ(inverse, 2.0f);
    for (size_t i = 0; i < kWidth; ++i) EXPECT_EQ(y[i], i % 2 == 0 ? -1.0f : 1.0f) << table->name;
  }
}

// Gradients in double of sum(d_y y), y the layer norm of x.
struct Gradients {
  std::vector<double> d_x, d_gamma, d_beta;
  std::vector<double> d_x_bound, d_gamma_bound, d_beta_bound;
};

Gradients LayerNormGradients(const GuardedMatrix& x, const GuardedMatrix& gamma,
                             const GuardedMatrix& d_y, size_t rows, size_t width,
                             double roundings_per_term = 1) {
  Gradients out;
  const double n = static_cast<double>(width), u = kRoundoff;
  for (auto* v : {&out.d_gamma, &out.d_beta, &out.d_gamma_bound, &out.d_beta_bound}) {
    v->assign(width, 0.0);
  }
  // Chains over the rows: every addition rounds what was added before.
  const double chain = (roundings_per_term * static_cast<double>(rows) + 1) * u;
  for (size_t r = 0; r < rows; ++r) {
    const RowStatistics s = Statistics(x, r, width);
    const StatisticsErrors errors(s, width, roundings_per_term);
    double g_mean = 0, gn_mean = 0, g_size = 0, gn_size = 0, gn_error = 0;
    for (size_t i = 0; i < width; ++i) {
      const double g = static_cast<double>(d_y.at(r, i)) * gamma.at(0, i);
      const double off = x.at(r, i) - s.mean, normal = off * s.inverse;
      g_mean += g / n, g_size += std::abs(g) / n;
      gn_mean += g * normal / n, gn_size += std::abs(g * normal) / n;
      gn_error += std::abs(g) * errors.Normal(s, off) / n;
    }
    const double g_mean_error = (errors.sum + 2 * u) * g_size;
    const double gn_mean_error = gn_error + (errors.sum + 4 * u) * gn_size;
    for (size_t i = 0; i < width; ++i) {
      const double d = d_y.at(r, i), g = d * gamma.at(0, i);
      const double off = x.at(r, i) - s.mean, normal = off * s.inverse;
      const double normal_error = errors.Normal(s, off);
      const double inside = g - g_mean - normal * gn_mean;
      out.d_x.push_back(inside * s.inverse);
      const double size = std::abs(g) + g_size + std::abs(normal) * gn_size;
      const double inside_error =
          g_mean_error + std::abs(normal) * gn_mean_error + normal_error * gn_size + 4 * u * size;
      out.d_x_bound.push_back(inside_error * s.inverse +
                              size * (errors.inverse + 2 * u * s.inverse));
      out.d_gamma[i] += d * normal;
      out.d_beta[i] += d;
      out.d_gamma_bound[i] += std::abs(d) * (normal_error + chain * std::abs(normal));
      out.d_beta_bound[i] += chain * std::abs(d);
    }
  }
  return out;
}

TEST(LayerNorm, TextbookGradientsAreDifferences) {
  constexpr size_t kWidth = 5;
  auto x = GuardedMatrix::Random(1, kWidth, kWidth, 1);
  auto gamma = GuardedMatrix::Random(1, kWidth, kWidth, 2);
  const auto d_y = GuardedMatrix::Random(1, kWidth, kWidth, 3);
  const Gradients gradients = LayerNormGradients(x, gamma, d_y, 1, kWidth);
  // beta adds sum(d_y beta), whose gradient needs no test.
  const auto loss = [&](size_t changed, double value, bool in_gamma) {
    double v[kWidth], g[kWidth], mean = 0, variance = 0, sum = 0;
    for (size_t i = 0; i < kWidth; ++i) v[i] = x.at(0, i), g[i] = gamma.at(0, i);
    (in_gamma ? g : v)[changed] = value;
    for (const double e : v) mean += e / kWidth;
    for (const double e : v) variance += (e - mean) * (e - mean) / kWidth;
    for (size_t i = 0; i < kWidth; ++i) {
      sum += d_y.at(0, i) * g[i] * (v[i] - mean) / std::sqrt(variance + kEpsilon);
    }
    return sum;
  };
  Worst d_x("d_x"), d_gamma("d_gamma");
  for (size_t i = 0; i < kWidth; ++i) {
    const auto by_x = [&](double v) { return loss(i, v, false); };
    const auto by_gamma = [&](double v) { return loss(i, v, true); };
    const Difference x_slope = Differentiate(by_x, x.at(0, i), 1e-14);
    const Difference gamma_slope = Differentiate(by_gamma, gamma.at(0, i), 1e-14);
    d_x.Add(0, i, gradients.d_x[i], x_slope.value, x_slope.error);
    d_gamma.Add(0, i, gradients.d_gamma[i], gamma_slope.value, gamma_slope.error);
  }
}

TEST(LayerNorm, BackwardIsTheTextbooks) {
  for (const size_t width : TestedSizes()) {
    SCOPED_TRACE("width " + std::to_string(width));
    const auto x = GuardedMatrix::Random(kRows, width, width, 1, width % 5);
    const auto gamma = GuardedMatrix::Random(1, width, width, 2);
    const auto d_y = GuardedMatrix::Random(kRows, width, width, 3, 2);
    ForEachTrainTable(
        [&](const TrainKernels& table) {
          GuardedMatrix y(kRows, width, width), mean(1, kRows, kRows), inverse(1, kRows, kRows);
          table.layer_norm_forward({.x = x.data(),
                                    .gamma = gamma.data(),
                                    .beta = gamma.data(),
                                    .y = y.data(),
                                    .mean = mean.data(),
                                    .inverse = inverse.data(),
                                    .rows = kRows,
                                    .width = width,
                                    .epsilon = kEpsilon});
          GuardedMatrix d_x(kRows, width, width, 1), again(kRows, width, width, 1);
          GuardedMatrix d_gamma(1, width, width), d_beta(1, width, width, 3);
          for (size_t i = 0; i < width; ++i) d_gamma.at(0, i) = d_beta.at(0, i) = 0;
          LayerNormBackwardArgs args{.x = x.data(),
                                     .gamma = gamma.data(),
                                     .mean = mean.data(),
                                     .inverse = inverse.data(),
                                     .d_y = d_y.data(),
                                     .d_x = d_x.data(),
                                     .d_gamma = d_gamma.data(),
                                     .d_beta = d_beta.data(),
                                     .rows = kRows,
                                     .width = width};
          table.layer_norm_backward(args);
          args.d_gamma = args.d_beta = nullptr;  // not wanted
          args.d_x = again.data();
          table.layer_norm_backward(args);
          EXPECT_TRUE(again.SameBits(d_x));
          return Outputs{d_x, d_gamma, d_beta};
        },
        [&](const TrainKernels& table, const Outputs& out) {
          const Gradients expected =
              LayerNormGradients(x, gamma, d_y, kRows, width, table.fused ? 1 : 2);
          Worst d_x("d_x"), d_gamma("d_gamma"), d_beta("d_beta");
          for (size_t i = 0; i < kRows * width; ++i) {
            d_x.Add(i / width, i % width, out[0].at(i / width, i % width), expected.d_x[i],
                    expected.d_x_bound[i]);
          }
          for (size_t i = 0; i < width; ++i) {
            d_gamma.Add(0, i, out[1].at(0, i), expected.d_gamma[i], expected.d_gamma_bound[i]);
            d_beta.Add(0, i, out[2].at(0, i), expected.d_beta[i], expected.d_beta_bound[i]);
          }
        });
  }
}

TEST(Affine, ForwardIsTheOperation) {
  for (const size_t width : TestedSizes()) {
    const auto x = GuardedMatrix::Random(kRows, width, width, 1, 1);
    const auto gamma = GuardedMatrix::Random(1, width, width, 2);
    const auto beta = GuardedMatrix::Random(1, width, width, 3);
    const std::vector<float> expected =
        Reference(OpKind::kAffine, NoAttrs{}, x, gamma, beta, width);
    ForEachTrainTable(
        [&](const TrainKernels& table) {
          GuardedMatrix y(kRows, width, width, 1), in_place = x;
          table.affine_forward(x.data(), gamma.data(), beta.data(), y.data(), kRows, width);
          table.affine_forward(in_place.data(), gamma.data(), beta.data(), in_place.data(), kRows,
                               width);
          EXPECT_TRUE(in_place.SameBits(y));
          return Outputs{y};
        },
        [&](const TrainKernels&, const Outputs& y) {
          Worst worst("y");
          for (size_t r = 0; r < kRows; ++r) {
            for (size_t i = 0; i < width; ++i) {
              const double product = static_cast<double>(x.at(r, i)) * gamma.at(0, i);
              worst.Add(r, i, y[0].at(r, i), expected[r * width + i],
                        2 * kRoundoff * (std::abs(product) + std::abs(beta.at(0, i))));
            }
          }
        });
  }
}

TEST(Affine, BackwardIsTheProductRule) {
  for (const size_t width : TestedSizes()) {
    const auto x = GuardedMatrix::Random(kRows, width, width, 1, 1);
    const auto gamma = GuardedMatrix::Random(1, width, width, 2);
    const auto d_y = GuardedMatrix::Random(kRows, width, width, 3, 2);
    const auto start = GuardedMatrix::Random(1, width, width, 4);  // gradients are added to
    ForEachTrainTable(
        [&](const TrainKernels& table) {
          GuardedMatrix d_x(kRows, width, width, 3), again = d_x, d_gamma = start, d_beta = start;
          AffineBackwardArgs args{.x = x.data(),
                                  .gamma = gamma.data(),
                                  .d_y = d_y.data(),
                                  .d_x = d_x.data(),
                                  .d_gamma = d_gamma.data(),
                                  .d_beta = d_beta.data(),
                                  .rows = kRows,
                                  .width = width};
          table.affine_backward(args);
          args.d_gamma = args.d_beta = nullptr;  // not wanted
          args.d_x = again.data();
          table.affine_backward(args);
          EXPECT_TRUE(again.SameBits(d_x));
          return Outputs{d_x, d_gamma, d_beta};
        },
        [&](const TrainKernels& table, const Outputs& out) {
          Worst d_gamma("d_gamma"), d_beta("d_beta");
          const double chain = ((table.fused ? 1 : 2) * kRows + 1) * kRoundoff;
          for (size_t i = 0; i < width; ++i) {
            double gamma_sum = start.at(0, i), beta_sum = start.at(0, i);
            double gamma_size = std::abs(gamma_sum), beta_size = gamma_size;
            for (size_t r = 0; r < kRows; ++r) {
              ASSERT_EQ(out[0].at(r, i), d_y.at(r, i) * gamma.at(0, i));
              const double product = static_cast<double>(d_y.at(r, i)) * x.at(r, i);
              gamma_sum += product, gamma_size += std::abs(product);
              beta_sum += d_y.at(r, i), beta_size += std::abs(d_y.at(r, i));
            }
            d_gamma.Add(0, i, out[1].at(0, i), gamma_sum, chain * gamma_size);
            d_beta.Add(0, i, out[2].at(0, i), beta_sum, chain * beta_size);
          }
        });
  }
}

TEST(ColumnSums, AreChainsOverRows) {
  for (const size_t width : TestedSizes()) {
    for (const size_t rows : {0, 1, 4, 7, 16}) {
      const auto x = GuardedMatrix::Random(rows, width, width, 1, 1);
      const auto start = GuardedMatrix::Random(1, width, width, 2, 2);
      ForEachTrainTable(
          [&](const TrainKernels& table) {
            GuardedMatrix sums = start;
            table.add_column_sums(x.data(), rows, width, sums.data());
            return Outputs{sums};
          },
          [&](const TrainKernels&, const Outputs& sums) {
            for (size_t i = 0; i < width; ++i) {
              float sum = start.at(0, i);
              for (size_t r = 0; r < rows; ++r) sum += x.at(r, i);
              ASSERT_EQ(sums[0].at(0, i), sum) << i;
            }
          });
    }
  }
}

TEST(ScatterAddRows, AddsRowsInOrder) {
  constexpr size_t kTable = 5;
  const int32_t ids[kRows] = {3, 0, 3, 4, 0, 3, 3};
  for (const size_t width : TestedSizes()) {
    const auto x = GuardedMatrix::Random(kRows, width, width, 1, 1);
    const auto start = GuardedMatrix::Random(kTable, width, width, 2, 2);
    ForEachTrainTable(
        [&](const TrainKernels& table) {
          GuardedMatrix to = start;
          table.scatter_add_rows(x.data(), ids, kRows, width, to.data());
          return Outputs{to};
        },
        [&](const TrainKernels&, const Outputs& to) {
          for (size_t i = 0; i < width; ++i) {
            float expected[kTable];
            for (size_t t = 0; t < kTable; ++t) expected[t] = start.at(t, i);
            for (size_t r = 0; r < kRows; ++r) expected[ids[r]] += x.at(r, i);
            for (size_t t = 0; t < kTable; ++t) ASSERT_EQ(to[0].at(t, i), expected[t]);
          }
        });
  }
}

TEST(Norms, OfNothingTouchNothing) {
  for (const TrainKernels* table : AvailableTrainKernels()) {
    GuardedMatrix y(1, 0, 1);
    float* none = y.data();
    table->layer_norm_forward({.x = none,
                               .gamma = none,
                               .beta = none,
                               .y = none,
                               .mean = none,
                               .inverse = none,
                               .rows = 0,
                               .width = 16});
    table->layer_norm_backward({.x = none,
                                .gamma = none,
                                .mean = none,
                                .inverse = none,
                                .d_y = none,
                                .d_x = none,
                                .d_gamma = none,
                                .d_beta = none,
                                .rows = 0,
                                .width = 16});
    table->affine_forward(none, none, none, none, 0, 16);
    table->affine_backward(
        {.x = none, .gamma = none, .d_y = none, .d_x = none, .rows = 0, .width = 16});
    table->add_column_sums(none, 0, 16, none);
    table->scatter_add_rows(none, nullptr, 0, 16, none);
    EXPECT_TRUE(y.GuardsIntact()) << table->name;
  }
}

}  // namespace
}  // namespace thimble
