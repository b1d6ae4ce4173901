#include "thimble/compress/movement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "thimble/graph/graph.h"
#include "thimble/train/libraries.h"
#include "thimble/train/test_models.h"
#include "thimble/train/trainer.h"

namespace thimble::compress {
namespace {

using train::ParameterSet;

MovementOptions Small(MaskChoice choice = MaskChoice::kTopK) {
  MovementOptions o;
  o.choice = choice;
  o.block_rows = 4;
  o.block_columns = 8;
  o.keep = 0.5;
  return o;
}

std::unique_ptr<MovementMasks> Masks(const Graph& graph, const MovementOptions& options) {
  auto masks = MovementMasks::Create(graph, options);
  EXPECT_TRUE(masks.has_value()) << masks.error().message();
  return *std::move(masks);
}

// The parameters of a small BERT with scores that all differ.
ParameterSet WithScores(const Graph& graph, const MovementMasks& masks) {
  ParameterSet set = ParameterSet::Create(graph, {.trainable = {}, .extra = masks.Extra()});
  Random random(5);
  for (size_t p = 0; p < set.parameters().size(); ++p) {
    if (!set.parameters()[p].name.ends_with(kScores)) continue;
    at::Tensor scores = set.View(p);
    for (int64_t i = 0; i < scores.numel(); ++i) {
      scores[i] = static_cast<float>(4 * random.Normal());
    }
  }
  return set;
}

at::Tensor Of(const ParameterSet& set, const at::Tensor& buffer, const std::string& name) {
  return set.ViewOf(buffer, static_cast<size_t>(set.Find(name) - set.parameters().data()));
}

TEST(Movement, TheScheduleIsCubic) {
  EXPECT_EQ(CubicSchedule(0, 0.1, 0.4, 1, 0.25), 1);
  EXPECT_EQ(CubicSchedule(0.1, 0.1, 0.4, 1, 0.25), 1);
  EXPECT_EQ(CubicSchedule(0.8, 0.1, 0.4, 1, 0.25), 0.25);
  for (const double t : {0.15, 0.3, 0.47, 0.59}) {
    const double u = (0.6 - t) / 0.5;
    EXPECT_NEAR(CubicSchedule(t, 0.1, 0.4, 1, 0.25), 0.25 + 0.75 * std::pow(u, 3), 1e-12) << t;
  }
  EXPECT_EQ(CubicSchedule(0.29, 0.3, 0.7, 1, 0.25), 1);  // a step where nothing is between
  EXPECT_EQ(CubicSchedule(0.31, 0.3, 0.7, 1, 0.25), 0.25);
}

TEST(Movement, HybridMasksAreBlocksInAttentionAndColumnsInFeedForwards) {
  const Graph graph = train::SmallBert();
  const auto masks = Masks(graph, Small());
  ASSERT_EQ(masks->masks().size(), 2U * 5);  // per layer q, k, v, output, feed-forward
  EXPECT_EQ(masks->masks()[0].blocks, 4 * 2);
  const Mask& columns = masks->masks()[4];
  EXPECT_EQ(columns.blocks, 32);
  ASSERT_EQ(columns.parts.size(), 2U);
  EXPECT_EQ(columns.parts[0].block_columns, 16);
  EXPECT_EQ(columns.parts[1].block_rows, 16);
  EXPECT_TRUE(columns.parts[1].bias.empty());
}

TEST(Movement, MasksAreConstantOnBlocksAndKeepWhatTheScheduleSays) {
  const Graph graph = train::SmallBert();
  for (const MaskChoice choice : {MaskChoice::kTopK, MaskChoice::kMagnitude}) {
    const auto masks = Masks(graph, Small(choice));
    const ParameterSet set = WithScores(graph, *masks);
    for (const double progress : {0.0, 0.2, 0.35, 0.5, 0.6, 1.0}) {
      at::Tensor used = at::empty_like(set.values());
      masks->Use(set, set.values(), progress, used);
      for (size_t m = 0; m < masks->masks().size(); ++m) {
        const Mask& mask = masks->masks()[m];
        const at::Tensor kept = masks->BlocksKept(set, set.values(), m, progress);
        EXPECT_NEAR(kept.sum().item<double>(),
                    masks->Level(progress) * static_cast<double>(mask.blocks), 0.5 + 1e-9);
        for (const MaskedWeight& w : mask.parts) {
          const at::Tensor before = Of(set, set.values(), w.weight),
                           after = Of(set, used, w.weight);
          for (int64_t i = 0; i < w.rows; ++i) {
            for (int64_t j = 0; j < w.columns; ++j) {
              const int64_t b =
                  i / w.block_rows * (w.columns / w.block_columns) + j / w.block_columns;
              ASSERT_EQ(after[i][j].item<float>(),
                        before[i][j].item<float>() * kept[b].item<float>());
            }
          }
        }
      }
    }
  }
}

TEST(Movement, ThresholdsKeepWhatIsAboveAndNeverNothing) {
  const Graph graph = train::SmallBert();
  const auto masks = Masks(graph, Small(MaskChoice::kThreshold));
  const ParameterSet set = WithScores(graph, *masks);
  const at::Tensor scores = Of(set, set.values(), masks->masks()[0].name + std::string(kScores));
  const at::Tensor kept = masks->BlocksKept(set, set.values(), 0, 1);
  for (int64_t i = 0; i < scores.numel(); ++i) {
    EXPECT_EQ(kept[i].item<float>() == 1, 1 / (1 + std::exp(-scores[i].item<double>())) > 0.1) << i;
  }
  at::Tensor low = scores;
  low.fill_(-9);
  low[3] = -8;
  const at::Tensor least = masks->BlocksKept(set, set.values(), 0, 1);
  EXPECT_EQ(least.sum().item<float>(), 1);
  EXPECT_EQ(least[3].item<float>(), 1);
}

// A loss that is quadratic in what is used, so that its gradient is known: L = sum c u^2 / 2. The surrogate's derivative
// by a score is that of L(u + (M(s + e) - M(s)) W) with the mask taken as linear, u + e W on the block.
TEST(Movement, GradientsPassStraightThrough) {
  const Graph graph = train::SmallBert();
  const auto masks = Masks(graph, Small(MaskChoice::kThreshold));
  const ParameterSet set = WithScores(graph, *masks);
  const double progress = 0.45;
  at::Tensor used = at::empty_like(set.values());
  masks->Use(set, set.values(), progress, used);
  at::Tensor c = at::empty_like(used);
  Random random(9);
  for (int64_t i = 0; i < c.numel(); ++i) {
    c.data_ptr<float>()[i] = static_cast<float>(random.Normal());
  }
  at::Tensor gradients = c * used + c;  // of sum c (u^2 / 2 + u)
  const at::Tensor by_used = gradients.clone();
  for (size_t p = 0; p < set.parameters().size(); ++p) {
    if (set.parameters()[p].name.ends_with(kScores)) set.ViewOf(gradients, p).zero_();
  }
  const double penalty = masks->Pull(set, set.values(), progress, gradients);

  const double lambda = 20 * masks->Level(progress) / 0.1;
  double expected_penalty = 0;
  for (size_t m = 0; m < masks->masks().size(); ++m) {
    const Mask& mask = masks->masks()[m];
    const std::string name = mask.name + std::string(kScores);
    const at::Tensor kept = masks->BlocksKept(set, set.values(), m, progress);
    const at::Tensor scores = Of(set, set.values(), name), found = Of(set, gradients, name);
    const double share = lambda / static_cast<double>(masks->masks().size() * mask.blocks);
    for (int64_t b = 0; b < mask.blocks; ++b) {
      const double s = scores[b].item<double>();
      const auto surrogate = [&](double e) {
        double loss = share / (1 + std::exp(-(s + e)));
        for (const MaskedWeight& w : mask.parts) {
          const at::Tensor weight = Of(set, set.values(), w.weight), u = Of(set, used, w.weight),
                           factor = Of(set, c, w.weight);
          const int64_t across = w.columns / w.block_columns;
          for (int64_t i = b / across * w.block_rows; i < (b / across + 1) * w.block_rows; ++i) {
            for (int64_t j = b % across * w.block_columns; j < (b % across + 1) * w.block_columns;
                 ++j) {
              const double v = u[i][j].item<double>() + e * weight[i][j].item<double>();
              loss += factor[i][j].item<double>() * (v * v / 2 + v);
            }
          }
        }
        return loss;
      };
      if (b % 5 == 0) {
        const double by_difference = (surrogate(1e-4) - surrogate(-1e-4)) / 2e-4;
        EXPECT_NEAR(found[b].item<double>(), by_difference, 1e-6 * (1 + std::abs(by_difference)))
            << name << " " << b;
      }
      expected_penalty += share / (1 + std::exp(-s));
    }
    for (const MaskedWeight& w : mask.parts) {
      const at::Tensor before = Of(set, by_used, w.weight), after = Of(set, gradients, w.weight);
      const at::Tensor zero = Of(set, used, w.weight).eq(0);
      EXPECT_TRUE(after.masked_select(zero).eq(0).all().item<bool>());
      EXPECT_TRUE(at::equal(after.masked_select(~zero), before.masked_select(~zero)));
    }
  }
  EXPECT_NEAR(penalty, expected_penalty, 1e-5 * expected_penalty);
}

std::vector<float> Logits(const Graph& graph) {
  const std::vector<int32_t> ids{1, 7, 30, 2, 3, 8, 9, 21, 5, 6, 2, 11}, types(12, 0),
      offsets{0, 4, 11, 12};
  std::vector<std::span<const int32_t>> inputs;
  for (const ValueId id : graph.inputs) {
    inputs.emplace_back(graph.value(id).name == kInputIds ? ids : types);
  }
  constexpr std::string_view kWanted[] = {"logits"};
  return (*RunReference(graph, {offsets, {}}, inputs, kWanted))[0].floats;
}

TEST(Movement, CompactedIsMasked) {
  const Graph graph = train::SmallBert();
  for (const AttentionMasks attention : {AttentionMasks::kHeads, AttentionMasks::kBlocks}) {
    MovementOptions o = Small();
    o.attention = attention;
    const auto masks = Masks(graph, o);
    const ParameterSet set = WithScores(graph, *masks);
    at::Tensor used = at::empty_like(set.values());
    masks->Use(set, set.values(), 1, used);
    const Graph masked = set.ToGraph(graph, used);
    const auto compacted = CompactMasked(masked);
    ASSERT_TRUE(compacted.has_value()) << compacted.error().message();
    for (const Compacted::Size& size : compacted->sizes) {
      const bool columns = size.dense_units == 32;
      const bool heads = !columns && attention == AttentionMasks::kHeads;
      if (columns || heads) {
        EXPECT_EQ(size.units, size.dense_units / 2) << size.structure;
        EXPECT_EQ(size.zeros, 0) << size.structure;
      } else {
        EXPECT_GT(size.zeros, 0.2) << size.structure;
      }
    }
    const std::vector<float> a = Logits(masked), b = Logits(compacted->graph);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-6) << i;
  }
}

// Zeros in the queries make a head the mean of its values, not nothing.
TEST(Movement, AHeadWithoutQueriesStays) {
  Graph graph = train::SmallBert();
  for (Node& node : graph.nodes) {
    if (!node.name.ends_with("query")) continue;
    for (Weight& w : node.weights) {
      w.tensor = Tensor::FromFloats(w.tensor.shape(), std::vector<float>(w.tensor.elements(), 0));
    }
  }
  const auto compacted = CompactMasked(graph);
  ASSERT_TRUE(compacted.has_value());
  for (const Compacted::Size& size : compacted->sizes) EXPECT_EQ(size.units, size.dense_units);
}

class Stopper : public train::TrainingObserver {
 public:
  Status OnStep(const train::StepReport& report) override {
    step = report.step;
    losses.push_back(report.loss);
    return {};
  }
  Status OnEvaluation(const train::Evaluation&, int64_t at, double, bool best) override {
    if (best) best_steps.push_back(at);
    return {};
  }
  Status CheckInterrupt() override {
    if (stop_at > 0 && step >= stop_at) return Error(ErrorCode::kInterrupted, "stop");
    return {};
  }
  int64_t step = 0, stop_at = 0;
  std::vector<double> losses;
  std::vector<int64_t> best_steps;
};

Result<train::TrainingResult> TrainMasked(const MovementMasks& masks, Stopper& observer,
                                          int threads = 1, double epochs = 10,
                                          const std::string& checkpoint = "", bool resume = false,
                                          const train::Evaluator& evaluator = nullptr) {
  train::UseOneThreadPerCall();
  const Graph graph = train::SmallBert();
  const auto objective = *train::TaskObjective(graph, Task::kSingleLabel);
  train::TrainerOptions options;
  options.threads = threads;
  options.epochs = epochs;  // of six steps
  options.batches.examples = 16;
  options.rate = 3e-3;
  options.checkpoint = checkpoint;
  options.checkpoint_seconds = 0;
  options.resume = resume;
  options.reparameterization = &masks;
  return Train(graph, *objective, train::SmallData(), options, evaluator, observer);
}

std::vector<float> AllWeights(const Graph& graph) {
  std::vector<float> all;
  for (const Node& node : graph.nodes) {
    for (const Weight& w : node.weights) {
      const auto floats = w.tensor.floats();
      all.insert(all.end(), floats.begin(), floats.end());
    }
  }
  return all;
}

TEST(Movement, LearnsWhilePruningAndRepeats) {
  const auto masks = Masks(train::SmallBert(), Small());
  for (const int threads : {1, 2}) {
    Stopper a, b;
    const auto first = TrainMasked(*masks, a, threads, 50),
               second = TrainMasked(*masks, b, threads, 50);
    ASSERT_TRUE(first.has_value()) << first.error().message();
    // From random weights: the model has as many epochs after the last block has gone as it needs without masks.
    const double last = std::accumulate(a.losses.end() - 6, a.losses.end(), 0.0) / 6;
    EXPECT_LT(last, 0.8 * a.losses.front());
    EXPECT_EQ(AllWeights(first->graph), AllWeights(second->graph));
    const auto compacted = CompactMasked(first->graph);
    ASSERT_TRUE(compacted.has_value());
    EXPECT_EQ(compacted->sizes[1].units, 16);
  }
}

TEST(Movement, ResumesToTheVeryWeights) {
  const auto masks = Masks(train::SmallBert(), Small(MaskChoice::kThreshold));
  const std::string path = testing::TempDir() + "movement.checkpoint";
  std::remove(path.c_str());
  Stopper whole, stopped, rest;
  const auto expected = TrainMasked(*masks, whole);
  stopped.stop_at = 25;
  EXPECT_FALSE(TrainMasked(*masks, stopped, 1, 10, path).has_value());
  const auto resumed = TrainMasked(*masks, rest, 1, 10, path, true);
  ASSERT_TRUE(resumed.has_value()) << resumed.error().message();
  EXPECT_EQ(stopped.losses.size() + rest.losses.size(), whole.losses.size());
  EXPECT_LT(rest.losses.size(), whole.losses.size() / 2 + 6);
  EXPECT_EQ(AllWeights(expected->graph), AllWeights(resumed->graph));
}

// Early weights score higher because little is pruned yet: they must not win.
TEST(Movement, OnlyFinalSparsityCountsAsBest) {
  const auto masks = Masks(train::SmallBert(), Small());
  Stopper observer;
  double score = 100;
  const auto result = TrainMasked(*masks, observer, 1, 10, "", false, [&](const Graph&) {
    return Result<train::Evaluation>({.score = score -= 1, .metrics = {}});
  });
  ASSERT_TRUE(result.has_value()) << result.error().message();
  EXPECT_EQ(observer.best_steps, std::vector<int64_t>{36});  // of 60, where the cool-down begins
  const auto compacted = CompactMasked(result->graph);
  EXPECT_EQ(compacted->sizes[1].units, 16);
}

// Sizes that differ from structure to structure, as a speedup asks for.
TEST(Movement, UnitsOfAStructureStandForItsShare) {
  const Graph graph = train::SmallBert();
  MovementOptions options = Small();
  options.attention = AttentionMasks::kHeads;
  const std::unique_ptr<MovementMasks> whole = Masks(graph, options);
  ASSERT_GE(whole->masks().size(), 2u);
  const Mask &first = whole->masks()[0], &second = whole->masks()[1];
  options.units = {{first.name, 1}, {second.name, second.blocks - 1}};
  const std::unique_ptr<MovementMasks> masks = Masks(graph, options);
  const ParameterSet set = WithScores(graph, *masks);
  EXPECT_EQ(masks->BlocksKept(set, set.values(), 0, 0).sum().item<int64_t>(), first.blocks);
  EXPECT_EQ(masks->BlocksKept(set, set.values(), 0, 1).sum().item<int64_t>(), 1);
  EXPECT_EQ(masks->BlocksKept(set, set.values(), 1, 1).sum().item<int64_t>(), second.blocks - 1);

  for (const int64_t units : {int64_t{0}, first.blocks + 1}) {
    options.units = {{first.name, units}};
    EXPECT_FALSE(MovementMasks::Create(graph, options).has_value());
  }
  options.units = {{"nothing", 1}};
  EXPECT_FALSE(MovementMasks::Create(graph, options).has_value());
}

TEST(Movement, RefusesWhatCannotBe) {
  const Graph graph = train::SmallBert();
  const auto refused = [&](const std::function<void(MovementOptions&)>& change) {
    MovementOptions o = Small();
    change(o);
    const auto masks = MovementMasks::Create(graph, o);
    return masks.has_value() ? std::string() : masks.error().message();
  };
  EXPECT_EQ(refused([](MovementOptions&) {}), "");
  EXPECT_NE(refused([](MovementOptions& o) { o.block_rows = 5; }).find("do not divide"),
            std::string::npos);
  EXPECT_NE(refused([](MovementOptions& o) { o.keep = 0; }).find("--sparsity"), std::string::npos);
  EXPECT_NE(refused([](MovementOptions& o) { o.warmup = 0.7; }).find("--prune-warmup"),
            std::string::npos);
  EXPECT_NE(refused([](MovementOptions& o) { o.final_threshold = 1; }).find("--threshold"),
            std::string::npos);
}

}  // namespace
}  // namespace thimble::compress
