#include "thimble/compress/latency_table.h"

#include <gtest/gtest.h>

#include "thimble/compress/test_model.h"

namespace thimble::compress {
namespace {

Graph TwoLayers(Task task, const std::string& type = "bert") {
  const nlohmann::json config = {{"model_type", type},      {"vocab_size", 40},
                                 {"hidden_size", 32},       {"embedding_size", 16},
                                 {"num_hidden_layers", 2},  {"num_attention_heads", 4},
                                 {"intermediate_size", 64}, {"max_position_embeddings", 32}};
  train::RandomWeights weights(1, 0.1);
  return *BuildGraph(config, {.task = task, .labels = 3}, weights);
}

// Attention and feed-forward of the first layer, then of the last.
TEST(OnFirstTokens, AreTheLastLayersOfAClassifier) {
  const Graph graph = TwoLayers(Task::kSingleLabel);
  EXPECT_EQ(OnFirstTokens(graph, FindStructures(graph)),
            (std::vector<bool>{false, false, true, true}));
}

TEST(OnFirstTokens, AreNoneWhereAllTokensAreRead) {
  const Graph graph = TwoLayers(Task::kTokenLabels);
  EXPECT_EQ(OnFirstTokens(graph, FindStructures(graph)),
            (std::vector<bool>{false, false, false, false}));
}

TEST(OnFirstTokens, CountTheLastPlaceOfSharedLayers) {
  const Graph graph = TwoLayers(Task::kSingleLabel, "albert");
  EXPECT_EQ(OnFirstTokens(graph, FindStructures(graph)), (std::vector<bool>{true, true}));
}

// The last attention's removal is not timed (all below it would run on one token), but has its place.
TEST(LatencyTable, HasEverySizeOfEveryStructure) {
  Model model = SmallModel(TwoLayers(Task::kSingleLabel));
  const Result<LatencyTable> table =
      MeasureLatencyTable(model, {.tokens = 8, .rounds = 1, .seconds_per_time = 1e-4}, kQuiet);
  ASSERT_TRUE(table.has_value()) << table.error().message();
  ASSERT_EQ(table->structures.size(), 4u);
  double sum = table->fixed;
  for (size_t s = 0; s < 4; ++s) {
    ASSERT_EQ(table->seconds[s].size(), table->units[s].size());
    EXPECT_EQ(table->units[s].back(), 0);
    EXPECT_EQ(table->seconds[s].back(), 0);
    for (size_t k = 1; k < table->seconds[s].size(); ++k) {
      EXPECT_LE(table->seconds[s][k], table->seconds[s][k - 1]);
    }
    sum += table->seconds[s][0];
  }
  EXPECT_GE(table->fixed, 0);
  EXPECT_LE(sum, table->dense * (1 + 1e-9));
}

}  // namespace
}  // namespace thimble::compress
