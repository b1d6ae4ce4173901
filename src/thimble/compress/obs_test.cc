#include "thimble/compress/obs.h"

#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "thimble/base/random.h"
#include "thimble/compress/test_model.h"

namespace thimble::compress {
namespace {

using testing::ElementsAre;

at::Tensor RandomMatrix(int64_t rows, int64_t columns, uint64_t seed) {
  Random random(seed);
  const at::Tensor t = at::empty({rows, columns}, at::kDouble);
  for (int64_t i = 0; i < t.numel(); ++i) t.data_ptr<double>()[i] = random.Normal();
  return t;
}

// Inputs that depend on each other, as those of real layers do.
at::Tensor RandomInputs(int64_t rows, int64_t columns, uint64_t seed) {
  return at::mm(RandomMatrix(rows, columns, seed),
                RandomMatrix(columns, columns, seed + 1) + 2 * at::eye(columns, at::kDouble));
}

at::Tensor Columns(const std::vector<int64_t>& units, int64_t width) {
  std::vector<int64_t> columns;
  for (const int64_t u : units) {
    for (int64_t c = 0; c < width; ++c) columns.push_back(u * width + c);
  }
  return at::tensor(columns, at::kLong);
}

std::vector<int64_t> CountDown(int64_t from) {
  std::vector<int64_t> counts;
  for (int64_t c = from; c >= 0; --c) counts.push_back(c);
  return counts;
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return a.numel() == 0 ? 0 : (a - b).abs().max().item<double>();
}

struct Case {
  int64_t outputs, units, width, rows;
};

class ObsTest : public testing::TestWithParam<Case> {
 protected:
  const Case c = GetParam();
  const int64_t inputs = c.units * c.width;
  const at::Tensor weight = RandomMatrix(c.outputs, inputs, 3);
  const at::Tensor x = RandomInputs(c.rows, inputs, 5);
  const at::Tensor gram = at::mm(x.t(), x);
};

// What stays is the least squares fit of the original outputs, and the sum of scores is the squared error that it
// leaves, at every count: the closed form updates, in blocks or not, lose nothing.
TEST_P(ObsTest, IsTheLeastSquaresSolutionOnWhatStays) {
  const Result<ObsResult> result = StructuredObs(weight, gram, c.width, CountDown(c.units));
  ASSERT_TRUE(result.has_value()) << result.error().message();
  EXPECT_FALSE(result->damped);
  const at::Tensor y = at::mm(x, weight.t());
  const double size = y.square().sum().item<double>();
  for (const Snapshot& s : result->snapshots) {
    at::Tensor residual = y;
    if (!s.units.empty()) {
      const at::Tensor kept = x.index_select(1, Columns(s.units, c.width));
      const at::Tensor fit = std::get<0>(at::linalg_lstsq(kept, y, c10::nullopt, "gelsd")).t();
      // Weights are stored in float.
      EXPECT_LT(MaxDifference(s.weight.to(at::kDouble), fit),
                1e-6 * weight.abs().max().item<double>() + 1e-6)
          << s.units.size();
      residual = y - at::mm(kept, fit.t());
    }
    EXPECT_NEAR(s.error / size, residual.square().sum().item<double>() / size, 1e-9)
        << s.units.size();
  }
}

// W and H change by the same step, so that of W = H what stays is H of what stays: the downdated inverse is a fresh one.
TEST_P(ObsTest, DowndatesTheInverse) {
  const at::Tensor inverse = at::linalg_inv(gram);
  const Result<ObsResult> result = StructuredObs(inverse, gram, c.width, CountDown(c.units));
  ASSERT_TRUE(result.has_value()) << result.error().message();
  for (const Snapshot& s : result->snapshots) {
    if (s.units.empty()) continue;
    const at::Tensor columns = Columns(s.units, c.width);
    const at::Tensor fresh = at::linalg_inv(gram.index_select(0, columns).index_select(1, columns));
    const at::Tensor downdated = s.weight.to(at::kDouble);
    // Weights are stored in float.
    EXPECT_LT(MaxDifference(downdated.index_select(0, columns), fresh),
              1e-6 * fresh.abs().max().item<double>())
        << s.units.size();
    // The rows of what is gone are those of columns that nothing needs.
    EXPECT_NEAR(downdated.abs().sum().item<double>(),
                downdated.index_select(0, columns).abs().sum().item<double>(),
                1e-6 * inverse.abs().sum().item<double>());
  }
}

// Every count by itself gives what all counts in one go give: where the updates are cut into blocks does not matter.
TEST_P(ObsTest, DoesNotDependOnTheCountsAskedFor) {
  const Result<ObsResult> all = StructuredObs(weight, gram, c.width, CountDown(c.units));
  const int64_t third = c.units / 3;
  const Result<ObsResult> one = StructuredObs(weight, gram, c.width, std::vector<int64_t>{third});
  ASSERT_TRUE(all.has_value() && one.has_value());
  const Snapshot& expected = all->snapshots[static_cast<size_t>(c.units - third)];
  EXPECT_EQ(one->snapshots[0].units, expected.units);
  EXPECT_LT(MaxDifference(one->snapshots[0].weight, expected.weight), 1e-5);
}

// The first unit to go is the one whose removal costs least of all.
TEST_P(ObsTest, TheFirstRemovalIsTheCheapest) {
  const Result<ObsResult> result =
      StructuredObs(weight, gram, c.width, std::vector<int64_t>{c.units - 1});
  ASSERT_TRUE(result.has_value());
  const at::Tensor y = at::mm(x, weight.t());
  double least = std::numeric_limits<double>::infinity();
  for (int64_t gone = 0; gone < c.units; ++gone) {
    std::vector<int64_t> units(static_cast<size_t>(c.units));
    std::iota(units.begin(), units.end(), 0);
    units.erase(units.begin() + gone);
    const at::Tensor kept = x.index_select(1, Columns(units, c.width));
    const at::Tensor fit = std::get<0>(at::linalg_lstsq(kept, y, c10::nullopt, "gelsd"));
    least = std::min(least, (y - at::mm(kept, fit)).square().sum().item<double>());
  }
  EXPECT_NEAR(result->snapshots[0].error, least, 1e-9 * y.square().sum().item<double>());
}

// With fewer rows than inputs G is singular. Damped, W' minimises error + lambda ||W' - W||^2, and the scores add up to that.
TEST_P(ObsTest, DampedIsTheRidgeSolution) {
  const at::Tensor few = x.narrow(0, 0, inputs / 2);
  const at::Tensor g = at::mm(few.t(), few);
  const double damping = 0.05;
  const Result<ObsResult> result =
      StructuredObs(weight, g, c.width, CountDown(c.units), {.damping = damping});
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->damped);
  const at::Tensor h = g + damping * g.diagonal().mean() * at::eye(inputs, at::kDouble);
  for (const Snapshot& s : result->snapshots) {
    if (s.units.empty()) continue;
    const at::Tensor columns = Columns(s.units, c.width);
    const at::Tensor h_kept = h.index_select(0, columns);
    const at::Tensor fit =
        at::linalg_solve(h_kept.index_select(1, columns), at::mm(h_kept, weight.t())).t();
    EXPECT_LT(MaxDifference(s.weight.to(at::kDouble), fit), 1e-5) << s.units.size();
    at::Tensor whole = at::zeros_like(weight);
    whole.index_copy_(1, columns, fit.contiguous());
    const at::Tensor change = whole - weight;
    const double ridge = at::mm(change, h).mul(change).sum().item<double>();
    EXPECT_NEAR(s.error, ridge, 1e-8 * std::max(1.0, ridge)) << s.units.size();
  }
}

// Columns: more than a block of updates, and enough removals for the matrices to be copied.
INSTANTIATE_TEST_SUITE_P(Shapes, ObsTest,
                         testing::Values(Case{4, 12, 1, 60}, Case{7, 90, 1, 300},
                                         Case{6, 6, 4, 100}, Case{5, 3, 8, 80}));

TEST(Obs, DeadInputsGoFirstAndCostNothing) {
  const at::Tensor weight = RandomMatrix(3, 6, 1);
  at::Tensor x = RandomInputs(40, 6, 2);
  x.select(1, 2).zero_();
  x.select(1, 5).zero_();
  const Result<ObsResult> result =
      StructuredObs(weight, at::mm(x.t(), x), 1, std::vector<int64_t>{6, 4});
  ASSERT_TRUE(result.has_value());
  EXPECT_THAT(result->snapshots[1].units, ElementsAre(0, 1, 3, 4));
  EXPECT_NEAR(result->snapshots[1].error, 0, 1e-9);
  // While they stay they keep their weights.
  EXPECT_TRUE(result->snapshots[0].weight.equal(weight.to(at::kFloat)));
  // In a unit with a live one too: the third of three has columns 4 and 5.
  const Result<ObsResult> pairs =
      StructuredObs(weight, at::mm(x.t(), x), 2, std::vector<int64_t>{2});
  ASSERT_TRUE(pairs.has_value());
  const std::vector<int64_t>& units = pairs->snapshots[0].units;
  for (size_t u = 0; u < units.size(); ++u) {
    for (const int64_t dead : {2, 5}) {
      if (dead / 2 != units[u]) continue;
      EXPECT_TRUE(pairs->snapshots[0]
                      .weight.select(1, 2 * static_cast<int64_t>(u) + dead % 2)
                      .equal(weight.select(1, dead).to(at::kFloat)));
    }
  }
}

TEST(Obs, BeatsRemovalWithoutUpdate) {
  const at::Tensor weight = RandomMatrix(4, 20, 1);
  const at::Tensor x = RandomInputs(100, 20, 2), gram = at::mm(x.t(), x);
  const Result<ObsResult> obs = StructuredObs(weight, gram, 1, std::vector<int64_t>{10});
  ASSERT_TRUE(obs.has_value());
  const at::Tensor gone = [&] {
    at::Tensor w = weight.clone();
    w.index_fill_(1, Columns(obs->snapshots[0].units, 1), 0);
    return w;
  }();
  EXPECT_LT(obs->snapshots[0].error, at::mm(gone, gram).mul(gone).sum().item<double>());
}

TEST(Obs, RefusesWhatIsNotFinite) {
  at::Tensor gram = at::eye(4, at::kDouble);
  gram[1][1] = std::numeric_limits<double>::quiet_NaN();
  const Result<ObsResult> result =
      StructuredObs(RandomMatrix(2, 4, 1), gram, 1, std::vector<int64_t>{2});
  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().message(), testing::HasSubstr("finite"));
}

TEST(Magnitude, KeepsTheLargestAndSaysWhatTheOthersDid) {
  const at::Tensor weight = RandomMatrix(3, 4, 1), gram = at::eye(4, at::kDouble);
  const std::vector<double> norms = {1, 4, 3, 2};
  const std::vector<Snapshot> s =
      StructuredMagnitude(weight, gram, 1, norms, std::vector<int64_t>{2, 0});
  EXPECT_THAT(s[0].units, ElementsAre(1, 2));
  EXPECT_NEAR(s[0].error,
              (weight.select(1, 0).square() + weight.select(1, 3).square()).sum().item<double>(),
              1e-9);
  EXPECT_NEAR(s[1].error, weight.square().sum().item<double>(), 1e-9);
  EXPECT_TRUE(s[1].units.empty());
}

}  // namespace
}  // namespace thimble::compress
