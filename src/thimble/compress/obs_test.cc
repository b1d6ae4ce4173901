#include "thimble/compress/obs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "thimble/base/random.h"
#include "thimble/compress/eliminate.h"
#include "thimble/compress/magnitude.h"
#include "thimble/train/torch.h"

namespace thimble::compress {
namespace {

using testing::HasSubstr;

constexpr int64_t kOutputs = 5;

// Inputs that depend on each other, so that weights can stand in for weights.
struct Problem {
  Problem(int64_t inputs, int64_t rows, uint64_t seed = 3) : random(seed) {
    const at::Tensor mix = Normal({inputs, inputs}) * 0.5 + at::eye(inputs, at::kDouble);
    x = Normal({rows, inputs}).mm(mix);
    // Weights are floats, as models have them.
    w = Normal({kOutputs, inputs}).to(at::kFloat).to(at::kDouble);
    Sum();
  }
  void Sum() {
    h = x.t().mm(x);
    gram.width = x.size(1), gram.rows = x.size(0);
    const at::Tensor flat = h.contiguous();
    gram.sum.assign(flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel());
  }
  at::Tensor Normal(at::IntArrayRef shape) {
    at::Tensor t = at::empty(shape, at::kDouble);
    for (int64_t i = 0; i < t.numel(); ++i) t.data_ptr<double>()[i] = random.Normal();
    return t;
  }
  Tensor Weight() const {
    const at::Tensor f = w.to(at::kFloat).contiguous();
    return Tensor::FromFloats({w.size(0), w.size(1)},
                              {f.data_ptr<float>(), static_cast<size_t>(f.numel())});
  }

  Random random;
  at::Tensor x, w, h;
  Gram gram;
};

at::Tensor ToDouble(const Tensor& t) {
  return at::tensor(t.ToFloats(), at::kFloat).view({t.dim(0), t.dim(1)}).to(at::kDouble);
}

std::vector<int64_t> Columns(const std::vector<int64_t>& units, int64_t width) {
  std::vector<int64_t> columns;
  for (const int64_t unit : units) {
    for (int64_t i = 0; i < width; ++i) columns.push_back(unit * width + i);
  }
  return columns;
}

std::vector<int64_t> AllCounts(int64_t units) {
  std::vector<int64_t> counts(static_cast<size_t>(units + 1));
  std::iota(counts.begin(), counts.end(), 0);
  return counts;
}

// The fit of W X on the kept inputs, by a route of its own: minimum of |(V X_K - W X)|^2 + lambda |V - W|^2 over all
// of W's columns, those not kept being zero.
at::Tensor LeastSquares(const Problem& p, const std::vector<int64_t>& kept, double lambda) {
  const at::Tensor index = at::tensor(kept, at::kLong);
  const at::Tensor h = p.h + lambda * at::eye(p.h.size(0), at::kDouble);
  const at::Tensor right = p.w.mm(h).index_select(1, index);
  const at::Tensor left = h.index_select(0, index).index_select(1, index);
  return at::linalg_solve(left, right.t()).t();
}

double ErrorOf(const Problem& p, const std::vector<int64_t>& kept, const at::Tensor& weight,
               double lambda) {
  at::Tensor change = -p.w.clone();
  if (!kept.empty()) change.index_add_(1, at::tensor(kept, at::kLong), weight);
  return (change.mm(p.x.t()).square().sum() + lambda * change.square().sum()).item<double>();
}

ObsResult Prune(const Problem& p, int64_t width, ObsOptions options) {
  Result<ObsResult> result = PruneByObs(p.Weight(), width, p.gram, options);
  EXPECT_TRUE(result.has_value()) << result.error().message();
  return *std::move(result);
}

void ExpectLeastSquares(const Problem& p, int64_t width, const ObsResult& result,
                        int64_t batch) {
  const int64_t units = p.x.size(1) / width;
  for (int64_t count = 0; count <= units; ++count) {
    SCOPED_TRACE("width " + std::to_string(width) + ", batch " + std::to_string(batch) + ", " +
                 std::to_string(count) + " left");
    const Snapshot& snapshot = result.path.snapshots[static_cast<size_t>(count)];
    ASSERT_EQ(static_cast<int64_t>(snapshot.units.size()), count);
    const std::vector<int64_t> kept = Columns(snapshot.units, width);
    at::Tensor found;
    if (count > 0) {
      found = ToDouble(snapshot.weight);
      const at::Tensor best = LeastSquares(p, kept, result.lambda);
      EXPECT_LE(((found - best).abs().max() / best.abs().max()).item<double>(), 1e-6);
      found = best;
    }
    // The sum of the costs is the error that is really there.
    const double error = ErrorOf(p, kept, found, result.lambda);
    EXPECT_NEAR(result.path.errors[static_cast<size_t>(units - count)], error,
                1e-9 * result.path.energy);
  }
}

TEST(PruneByObs, IsTheLeastSquaresFitOnTheInputsThatAreLeft) {
  const Problem p(24, 200);
  for (const int64_t width : {1, 3, 8}) {
    for (const int64_t batch : {1, 5, 64}) {
      const ObsResult result =
          Prune(p, width, {.counts = AllCounts(24 / width), .batch = batch});
      EXPECT_EQ(result.lambda, 0);
      ExpectLeastSquares(p, width, result, batch);
      EXPECT_NEAR(result.path.relative_error(static_cast<size_t>(24 / width)), 1, 1e-9);
    }
  }
}

TEST(PruneByObs, DampedItIsRidgeRegressionTowardsTheWeights) {
  const Problem p(24, 200);
  for (const int64_t width : {1, 4}) {
    const ObsResult result =
        Prune(p, width, {.counts = AllCounts(24 / width), .damping = 0.01, .batch = 5});
    EXPECT_NEAR(result.lambda, 0.01 * p.h.diagonal().mean().item<double>(), 1e-9 * result.lambda);
    ExpectLeastSquares(p, width, result, 5);
  }
}

TEST(PruneByObs, DampsOnlyWhereItMust) {
  const Problem few(24, 10);  // rows: fewer than inputs
  const ObsResult result = Prune(few, 1, {.counts = AllCounts(24)});
  EXPECT_GT(result.lambda, 0);
  ExpectLeastSquares(few, 1, result, 64);
  const Result<ObsResult> refused =
      PruneByObs(few.Weight(), 1, few.gram, {.damping = 0.0});
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message(), HasSubstr("more calibration data or more damping"));
}

TEST(PruneByObs, BatchesDoNotChangeTheOrder) {
  const Problem p(150, 600);
  const ObsResult one = Prune(p, 1, {.counts = {40}, .batch = 1});
  for (const int64_t batch : {2, 7, 64, 1000}) {
    const ObsResult many = Prune(p, 1, {.counts = {40}, .batch = batch});
    EXPECT_EQ(many.path.order, one.path.order) << batch;
    const at::Tensor difference =
        ToDouble(many.path.snapshots[0].weight) - ToDouble(one.path.snapshots[0].weight);
    EXPECT_LE(difference.abs().max().item<double>(), 1e-6) << batch;
  }
}

TEST(PruneByObs, FirstTakesWhatCostsLeast) {
  const Problem p(12, 60);
  for (const int64_t width : {1, 3}) {
    const int64_t units = 12 / width;
    const ObsResult result = Prune(p, width, {});
    double least = INFINITY;
    int64_t best = -1;
    for (int64_t unit = 0; unit < units; ++unit) {
      std::vector<int64_t> rest;
      for (int64_t u = 0; u < units; ++u) {
        if (u != unit) rest.push_back(u);
      }
      const std::vector<int64_t> kept = Columns(rest, width);
      const double error = ErrorOf(p, kept, LeastSquares(p, kept, 0), 0);
      if (error < least) least = error, best = unit;
    }
    EXPECT_EQ(result.path.order[0], best);
    EXPECT_NEAR(result.path.errors[1], least, 1e-9 * result.path.energy);
  }
}

TEST(PruneByObs, DeadInputsGoFirstAndCostNothing) {
  Problem p(10, 80);
  for (const int64_t dead : {2, 7}) p.x.select(1, dead).zero_();
  p.Sum();
  const ObsResult result = Prune(p, 1, {.counts = {10, 9, 8, 4}});
  EXPECT_EQ(result.dead_inputs, 2);
  EXPECT_EQ(result.lambda, 0);
  EXPECT_THAT((std::vector<int64_t>{result.path.order.begin(), result.path.order.begin() + 2}),
              testing::UnorderedElementsAre(2, 7));
  EXPECT_EQ(result.path.errors[2], 0);
  // While they stay they keep their weights, which other data may need.
  EXPECT_EQ(result.path.snapshots[0].weight.ToFloats(), p.Weight().ToFloats());
  const std::vector<int64_t>& kept = result.path.snapshots[3].units;
  const at::Tensor best = LeastSquares(p, kept, 0);
  EXPECT_LE((ToDouble(result.path.snapshots[3].weight) - best).abs().max().item<double>(), 1e-6);
}

TEST(PruneByObs, BeatsMasksAndMagnitude) {
  const Problem p(16, 100);
  // x -> linear -> activation -> linear W
  Builder b;
  ValueId x = b.Add(OpKind::kEmbedding, "words", {b.Input(kInputIds)},
                    {{"t", Tensor::FromFloats({2, 3}, std::vector<float>(6, 1.0f))}});
  std::vector<float> first;
  for (int i = 0; i < 48; ++i) first.push_back(0.01f * static_cast<float>(i));
  ValueId y = b.Add(OpKind::kLinear, "in", {x}, {{"in.w", Tensor::FromFloats({16, 3}, first)}});
  y = b.Add(OpKind::kActivation, "act", {y}, {}, ActivationAttrs{Activation::kRelu});
  y = b.Add(OpKind::kLinear, "out", {y}, {{"out.w", p.Weight()}});
  b.Output("last_hidden_state", y);
  const Result<Graph> graph = std::move(b).Finish(8);
  ASSERT_TRUE(graph.has_value()) << graph.error().message();
  const std::vector<Structure> structures = FindStructures(*graph);
  ASSERT_EQ(structures.size(), 1u);
  const Result<RemovalPath> magnitude =
      PruneByMagnitude(*graph, structures[0], &p.gram, AllCounts(16));
  ASSERT_TRUE(magnitude.has_value()) << magnitude.error().message();
  const ObsResult obs = Prune(p, 1, {});
  EXPECT_NEAR(magnitude->energy, obs.path.energy, 1e-9 * obs.path.energy);
  const std::vector<double> norms = UnitNorms(*graph, structures[0]);
  for (size_t k = 0; k < magnitude->order.size(); ++k) {
    const Snapshot& snapshot = magnitude->snapshots[magnitude->order.size() - k];
    EXPECT_NEAR(magnitude->errors[k],
                ErrorOf(p, snapshot.units,
                        k < 16 ? p.w.index_select(1, at::tensor(snapshot.units, at::kLong))
                               : at::Tensor(),
                        0),
                1e-9 * magnitude->energy);
    if (k > 0) {
      EXPECT_LE(norms[static_cast<size_t>(magnitude->order[k - 1])],
                norms[static_cast<size_t>(magnitude->order[k])]);
      EXPECT_LE(ErrorOf(p, snapshot.units, LeastSquares(p, snapshot.units, 0), 0),
                magnitude->errors[k]);
    }
  }
  EXPECT_LT(obs.path.errors[8], 0.5 * magnitude->errors[8]);
  double norm = 0;  // of unit 3, by hand
  for (size_t i = 9; i < 12; ++i) norm += static_cast<double>(first[i]) * first[i];
  norm += p.w.select(1, 3).square().sum().item<double>();
  EXPECT_NEAR(norms[3], std::sqrt(norm), 1e-9);
}

TEST(Elimination, LeavesTheInverseOfWhatIsLeft) {
  const Problem p(20, 90);
  for (const int64_t width : {1, 4}) {
    Elimination e(at::linalg_inv(p.h), p.w.t().contiguous(), 8);
    std::vector<bool> gone(20, false);
    for (const int64_t first : {4, 16}) {
      e.Remove(first, width);
      for (int64_t i = 0; i < width; ++i) gone[static_cast<size_t>(first + i)] = true;
    }
    std::vector<int64_t> kept;
    for (int64_t i = 0; i < 20; ++i) {
      if (!gone[static_cast<size_t>(i)]) kept.push_back(i);
    }
    e.Flush(kept);
    const at::Tensor index = at::tensor(kept, at::kLong);
    const at::Tensor fresh =
        at::linalg_inv(p.h.index_select(0, index).index_select(1, index));
    EXPECT_LE(((e.inverse() - fresh).abs().max() / fresh.abs().max()).item<double>(), 1e-12);
    const at::Tensor best = LeastSquares(p, kept, 0).t();
    EXPECT_LE(((e.weight() - best).abs().max() / best.abs().max()).item<double>(), 1e-12);
  }
}

TEST(PruneByObs, RefusesWhatDoesNotFit) {
  const Problem p(12, 60);
  EXPECT_FALSE(PruneByObs(p.Weight(), 5, p.gram, {}).has_value());
  EXPECT_FALSE(PruneByObs(p.Weight(), 1, p.gram, {.counts = {13}}).has_value());
  Problem bad(12, 60);
  bad.gram.sum[0] = NAN;
  EXPECT_FALSE(PruneByObs(bad.Weight(), 1, bad.gram, {}).has_value());
}

}  // namespace
}  // namespace thimble::compress
