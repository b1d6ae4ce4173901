#include "thimble/compress/pruner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "thimble/compress/test_model.h"
#include "thimble/passes/shrink.h"

namespace thimble::compress {
namespace {

using testing::HasSubstr;

// Wide enough that pruning saves time.
Model WideModel() { return TwoLayerModel(64, 256); }

// Few, short timings: what is tested is not time.
PruneOptions Quick(PruneMethod method) {
  PruneOptions options;
  options.method = method;
  options.timing = {.tokens = 32, .rounds = 3, .seconds_per_time = 1e-4};
  options.search = {.random = 3, .mutations = 5, .seed = 1};
  // The budget is the target's, and what is timed decides nothing: the machine may be busy.
  options.slack = 0;
  options.attempts = 1;
  return options;
}

class PrunerTest : public testing::TestWithParam<PruneMethod> {};

TEST_P(PrunerTest, FindsAModelWithinTheBudgetOfItsTable) {
  const Model model = WideModel();
  const std::vector<train::TrainingExample> examples = train::SmallData(64);
  Result<Pruner> pruner = Pruner::Create(model, examples, Quick(GetParam()), kQuiet);
  ASSERT_TRUE(pruner.has_value()) << pruner.error().message();
  const LatencyTable& table = pruner->table();
  ASSERT_EQ(table.structures.size(), 4u);
  for (size_t s = 0; s < 4; ++s) {
    EXPECT_EQ(table.units[s].front(), table.structures[s].units);
    EXPECT_EQ(table.units[s].back(), 0);
    EXPECT_EQ(table.seconds[s].back(), 0);
    for (size_t k = 1; k < table.seconds[s].size(); ++k) {
      EXPECT_LE(table.seconds[s][k], table.seconds[s][k - 1]);
      EXPECT_LT(table.units[s][k], table.units[s][k - 1]);
    }
  }
  const double target = 1 + 0.5 * (pruner->largest_speedup() - 1);
  const Result<Pruned> pruned = pruner->PruneTo(model.graph, target, kQuiet);
  ASSERT_TRUE(pruned.has_value()) << pruned.error().message();
  EXPECT_LT(ComputeCost(pruned->graph, {}).parameters, ComputeCost(model.graph, {}).parameters);
  EXPECT_GT(pruned->loss, 0);
  ASSERT_EQ(pruned->sizes.size(), 4u);
  double seconds = table.fixed;
  for (size_t s = 0; s < 4; ++s) {
    const auto at = std::find(table.units[s].begin(), table.units[s].end(), pruned->sizes[s].units);
    ASSERT_NE(at, table.units[s].end());
    seconds += table.seconds[s][static_cast<size_t>(at - table.units[s].begin())];
  }
  EXPECT_LE(seconds, table.dense / target * (1 + 1e-9));

  // From there to more, as gradual pruning does.
  const double more = 1 + 0.8 * (pruner->largest_speedup() - 1);
  const Result<Pruned> again = pruner->PruneTo(pruned->graph, more, kQuiet);
  ASSERT_TRUE(again.has_value()) << again.error().message();
  EXPECT_LE(ComputeCost(again->graph, {}).parameters, ComputeCost(pruned->graph, {}).parameters);
}

INSTANTIATE_TEST_SUITE_P(Methods, PrunerTest,
                         testing::Values(PruneMethod::kZipLm, PruneMethod::kMagnitude));

// What is kept of a graph for its next target is what a pruner that starts with that target computes.
TEST_P(PrunerTest, TheSecondTargetOfAGraphIsAsGoodAsTheFirst) {
  const Model model = WideModel();
  const std::vector<train::TrainingExample> examples = train::SmallData(64);
  Result<Pruner> pruner = Pruner::Create(model, examples, Quick(GetParam()), kQuiet);
  ASSERT_TRUE(pruner.has_value()) << pruner.error().message();
  const double low = 1 + 0.3 * (pruner->largest_speedup() - 1);
  const double high = 1 + 0.7 * (pruner->largest_speedup() - 1);
  const Result<Pruned> first = pruner->PruneTo(model.graph, low, kQuiet);
  const Result<Pruned> other = pruner->PruneTo(model.graph, high, kQuiet);
  ASSERT_TRUE(first.has_value() && other.has_value());
  // Another graph between them: what is kept must not be its.
  ASSERT_TRUE(pruner->PruneTo(other->graph, high, kQuiet).has_value());
  const Result<Pruned> again = pruner->PruneTo(model.graph, low, kQuiet);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(WeightsSha256(again->graph), WeightsSha256(first->graph));
}

// Searched from what was found: no worse, and sooner.
TEST_P(PrunerTest, ATargetThatIsAskedForAgainIsNoWorse) {
  const Model model = WideModel();
  const std::vector<train::TrainingExample> examples = train::SmallData(64);
  Result<Pruner> pruner = Pruner::Create(model, examples, Quick(GetParam()), kQuiet);
  ASSERT_TRUE(pruner.has_value()) << pruner.error().message();
  const double target = 1 + 0.5 * (pruner->largest_speedup() - 1);
  const Result<Pruned> first = pruner->PruneTo(model.graph, target, kQuiet);
  const Result<Pruned> again = pruner->PruneTo(model.graph, target, kQuiet);
  ASSERT_TRUE(first.has_value() && again.has_value());
  EXPECT_LE(again->loss, first->loss);
  // Of a quarter of the mutations only the one there is can be new; all else is known.
  EXPECT_LE(again->evaluated, Quick(GetParam()).search.mutations / 4);
}

TEST(Pruner, OneIsTheDenseModel) {
  const Model model = WideModel();
  const std::vector<train::TrainingExample> examples = train::SmallData(64);
  Result<Pruner> pruner = Pruner::Create(model, examples, Quick(PruneMethod::kZipLm), kQuiet);
  ASSERT_TRUE(pruner.has_value());
  const Result<Pruned> pruned = pruner->PruneTo(model.graph, 1, kQuiet);
  ASSERT_TRUE(pruned.has_value());
  EXPECT_EQ(WeightsSha256(pruned->graph), WeightsSha256(model.graph));
}

TEST(Pruner, SaysWhatIsPossible) {
  const Model model = WideModel();
  const std::vector<train::TrainingExample> examples = train::SmallData(64);
  Result<Pruner> pruner = Pruner::Create(model, examples, Quick(PruneMethod::kZipLm), kQuiet);
  ASSERT_TRUE(pruner.has_value());
  const Result<Pruned> pruned = pruner->PruneTo(model.graph, 1e6, kQuiet);
  ASSERT_FALSE(pruned.has_value());
  EXPECT_EQ(pruned.error().code(), ErrorCode::kLimitNotMet);
  EXPECT_THAT(pruned.error().message(), HasSubstr("at most"));
  EXPECT_FALSE(pruner->PruneTo(model.graph, 0.5, kQuiet).has_value());
}

// Layers that share their weights are pruned alike, on what all of them read.
TEST(Pruner, SharedLayersStayShared) {
  const auto config = nlohmann::json::parse(
      R"({"model_type":"albert","vocab_size":40,"embedding_size":8,"hidden_size":64,"num_hidden_layers":3,
          "num_attention_heads":4,"intermediate_size":256,"max_position_embeddings":32})");
  train::RandomWeights weights(1, 0.1);
  Model model = WideModel();
  model.graph = *BuildGraph(config, {.task = Task::kSingleLabel, .labels = 3}, weights);
  const std::vector<train::TrainingExample> examples = train::SmallData(64);
  Result<Pruner> pruner = Pruner::Create(model, examples, Quick(PruneMethod::kZipLm), kQuiet);
  ASSERT_TRUE(pruner.has_value()) << pruner.error().message();
  EXPECT_EQ(pruner->table().structures.size(), 2u);
  const Result<Pruned> pruned =
      pruner->PruneTo(model.graph, 1 + 0.02 * (pruner->largest_speedup() - 1), kQuiet);
  ASSERT_TRUE(pruned.has_value()) << pruned.error().message();
  const std::vector<Structure> left = FindStructures(pruned->graph);
  ASSERT_FALSE(left.empty());
  for (const Structure& s : left) EXPECT_EQ(s.tied.size(), 2u) << s.name;
}

}  // namespace
}  // namespace thimble::compress
