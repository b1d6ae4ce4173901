#include "thimble/runtime/sink_pooling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/runtime/test_graphs.h"

namespace thimble {
namespace {

using testing::HasSubstr;

Graph Sink(const Graph& graph, const std::vector<std::string_view>& outputs) {
  Result<Graph> sunk = SinkPooling(graph, outputs);
  EXPECT_TRUE(sunk.has_value()) << sunk.error().message();
  return *std::move(sunk);
}

Rows RowsOf(const Graph& graph, std::string_view node) {
  const Node* found = graph.FindNode(node);
  EXPECT_NE(found, nullptr) << node;
  return graph.value(found->output).type.rows;
}

TEST(SinkPooling, RunsTheEndOfTheLastLayerOnFirstTokens) {
  const Graph graph = Sink(TestGraph().Encoder(), {"logits"});
  EXPECT_EQ(RowsOf(graph, "layer0.out"), Rows::kTokens);
  // Keys and values still need every token, the query and what follows do not.
  EXPECT_EQ(RowsOf(graph, "layer1.k"), Rows::kTokens);
  EXPECT_EQ(RowsOf(graph, "layer1.v"), Rows::kTokens);
  EXPECT_EQ(RowsOf(graph, "layer1.q"), Rows::kSequences);
  EXPECT_EQ(RowsOf(graph, "layer1.attention"), Rows::kSequences);
  EXPECT_EQ(RowsOf(graph, "layer1.ffn_in"), Rows::kSequences);
  EXPECT_EQ(graph.FindNode("unit"), nullptr) << "not needed for the logits";
  ASSERT_EQ(graph.outputs.size(), 1u);
}

TEST(SinkPooling, LeavesEverythingWhenTheHiddenStateIsWanted) {
  const Graph graph = Sink(TestGraph().Encoder(), {"last_hidden_state", "logits"});
  EXPECT_EQ(RowsOf(graph, "layer1.q"), Rows::kTokens);
  EXPECT_EQ(RowsOf(graph, "layer1.out"), Rows::kTokens);
  EXPECT_EQ(RowsOf(graph, "pooler"), Rows::kSequences);
}

TEST(SinkPooling, LeavesEverythingForAMeanOverTokens) {
  const Graph graph = Sink(TestGraph().Encoder(), {"embedding"});
  EXPECT_EQ(RowsOf(graph, "layer1.out"), Rows::kTokens);
  EXPECT_EQ(graph.FindNode("classifier"), nullptr);
}

TEST(SinkPooling, NamesTheOutputsThatThereAre) {
  const std::vector<std::string_view> wanted = {"probabilities"};
  EXPECT_THAT(SinkPooling(TestGraph().Encoder(), wanted).error().message(),
              HasSubstr("no output 'probabilities'; it has last_hidden_state, logits, embedding"));
}

}  // namespace
}  // namespace thimble
