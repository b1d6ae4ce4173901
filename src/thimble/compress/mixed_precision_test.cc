#include "thimble/compress/mixed_precision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/compress/test_model.h"
#include "thimble/passes/passes.h"
#include "thimble/passes/weights_by_group.h"

namespace thimble::compress {
namespace {

DType TypeOf(const Graph& graph, const std::string& node) {
  return graph.FindNode(node)->weights[0].tensor.dtype();
}

class MixedPrecision : public testing::Test {
 protected:
  Result<PrecisionPlan> Choose(const std::function<Result<double>(const Graph&)>& score,
                               double max_drop) {
    const Result<OutputDistance> distance = OutputDistance::Create(model, examples, 1);
    EXPECT_TRUE(distance.has_value());
    PrecisionOptions options;
    options.timing = {.tokens = 8, .rounds = 3, .seconds_per_time = 1e-5};
    options.max_drop = max_drop;
    options.only_where_faster = false;  // what is tested is not time
    options.smaller_tables = smaller_tables;
    return ChoosePrecision(model, quantized, *distance, score, options,
                           [](double) { return Status(); });
  }

  const Graph* smaller_tables = nullptr;
  const Model model = SmallModel();
  const Graph quantized = *RunPass(*FindPass("weights_to_int8"), model.graph);
  const std::vector<train::TrainingExample> examples = train::SmallData(40);
};

TEST_F(MixedPrecision, IsTheQuantizedGraphWhereNothingIsLost) {
  const auto plan = Choose([](const Graph&) -> Result<double> { return 1.0; }, 0);
  ASSERT_TRUE(plan.has_value()) << plan.error().message();
  for (const PrecisionGroup& group : plan->groups) {
    EXPECT_TRUE(group.quantized);
    for (const std::string& node : group.nodes) {
      EXPECT_EQ(TypeOf(plan->graph, node), TypeOf(quantized, node)) << node;
    }
  }
  EXPECT_EQ(WeightsSha256(plan->graph), WeightsSha256(quantized));  // float16 positions too
}

// A score that falls with every weight that is int8: as many as the limit allows, those that change the answers least.
TEST_F(MixedPrecision, TakesBackWhatCostsMost) {
  const auto score = [](const Graph& graph) -> Result<double> {
    int int8 = 0;
    for (const Node& node : graph.nodes) {
      int8 += !node.weights.empty() && node.weights[0].tensor.dtype() == DType::kI8 ? 1 : 0;
    }
    return 1 - 0.01 * int8;
  };
  const auto plan = Choose(score, 0.0551);
  ASSERT_TRUE(plan.has_value()) << plan.error().message();
  double largest_kept = 0, smallest_left = 1e9;
  int count = 0;
  for (const PrecisionGroup& group : plan->groups) {
    EXPECT_GT(group.loss, 0) << group.nodes[0];
    const bool int8 = TypeOf(quantized, group.nodes[0]) == DType::kI8;
    count += group.quantized && int8 ? 1 : 0;
    if (group.quantized) largest_kept = std::max(largest_kept, group.loss);
    if (!group.quantized) smallest_left = std::min(smallest_left, group.loss);
  }
  EXPECT_EQ(count, 5);
  EXPECT_LE(largest_kept, smallest_left);
  EXPECT_NEAR(plan->score, 0.95, 1e-9);
  EXPECT_NEAR(plan->score_float, 1, 1e-9);
}

// int4 costs the table twice what int8 does: taken where the limit has room for it, and by nothing but tables.
TEST_F(MixedPrecision, TakesSmallerTablesWhereTheyFit) {
  const Graph int4 = *WeightsByGroup(model.graph, {});
  smaller_tables = &int4;
  const auto cost = [](const Graph& graph) -> Result<double> {
    double score = 1;
    for (const Node& node : graph.nodes) {
      if (node.weights.empty()) continue;
      const DType dtype = node.weights[0].tensor.dtype();
      score -= dtype == DType::kI8 ? 0.01 : dtype == DType::kI4Group ? 0.02 : 0;
    }
    return score;
  };
  const double all = 1 - *cost(quantized);
  for (const double room : {0.011, 0.009}) {
    const auto plan = Choose(cost, all + room);
    ASSERT_TRUE(plan.has_value()) << plan.error().message();
    size_t small = 0;
    for (const Node& node : plan->graph.nodes) {
      const bool is_small =
          !node.weights.empty() && node.weights[0].tensor.dtype() == DType::kI4Group;
      small += is_small ? 1 : 0;
      EXPECT_TRUE(!is_small || node.op == OpKind::kEmbedding) << node.name;
    }
    EXPECT_EQ(small, room > 0.01 ? 1u : 0u);
    EXPECT_NEAR(plan->score, *cost(plan->graph), 1e-9);
  }
}

TEST_F(MixedPrecision, NothingIsLeftOfItWhereAnyCostsTooMuch) {
  const auto score = [&](const Graph& graph) -> Result<double> {
    return WeightsSha256(graph) == WeightsSha256(model.graph) ? 1.0 : 0.5;
  };
  const auto plan = Choose(score, 0.1);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->score, 1);
  EXPECT_EQ(WeightsSha256(plan->graph), WeightsSha256(model.graph));
}

TEST_F(MixedPrecision, RefusesWhatIsInt8Already) {
  Model int8 = model;
  int8.graph = *RunPass(*FindPass("weights_to_int8"), model.graph);
  const Result<OutputDistance> distance = OutputDistance::Create(int8, examples, 1);
  ASSERT_TRUE(distance.has_value());
  const auto plan = ChoosePrecision(
      int8, int8.graph, *distance, [](const Graph&) -> Result<double> { return 1.0; }, {},
      [](double) { return Status(); });
  ASSERT_FALSE(plan.has_value());
  EXPECT_EQ(plan.error().code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace thimble::compress
