#include "thimble/passes/replace_head.h"

#include <gtest/gtest.h>

namespace thimble {
namespace {

Tensor Ones(Shape shape) {
  const std::vector<float> values(*ElementCount(shape), 1.0f);
  return Tensor::FromFloats(shape, values);
}

// Embedding, a pooler and an old classifier of three labels.
Graph OldGraph(bool pooler) {
  Builder b;
  const ValueId ids = b.Input(kInputIds);
  const ValueId x = b.Add(OpKind::kEmbedding, "words", {ids}, {{"words.weight", Ones({5, 4})}});
  b.Output("last_hidden_state", x);
  ValueId p = b.Add(OpKind::kPool, "first", {x}, {}, PoolAttrs{PoolKind::kFirst});
  if (pooler) {
    p = b.Add(OpKind::kLinear, "pooler.dense", {p}, {{"pooler.dense.weight", Ones({4, 4})}});
    b.Output("pooler_output", p);
  }
  b.Output("logits", b.Add(OpKind::kLinear, "old", {p}, {{"old.weight", Ones({3, 4})}}));
  return *std::move(b).Finish(16);
}

TEST(ReplaceHead, PutsANewClassifierBehindThePooler) {
  const Graph old = OldGraph(true);
  const Result<Graph> graph = ReplaceHead(old, {.labels = 7});
  ASSERT_TRUE(graph.has_value()) << graph.error().message();
  EXPECT_EQ(Print(*graph),
            "%0 = input input_ids\n"
            "%1 = embedding(%0) [5, 4] f32 -> [tokens, 4]  // words\n"
            "%2 = pool(%1) kind=first -> [sequences, 4]  // first\n"
            "%3 = linear(%2) [4, 4] f32 -> [sequences, 4]  // pooler.dense\n"
            "%4 = linear(%3) [7, 4] f32, [7] f32 -> [sequences, 7]  // classifier\n"
            "output last_hidden_state = %1\n"
            "output pooler_output = %3\n"
            "output logits = %4\n");
  EXPECT_TRUE(graph->FindNode("words")->weights[0].tensor.SameAs(old.nodes[0].weights[0].tensor));
}

TEST(ReplaceHead, PoolsAsAskedAndDropsThePooler) {
  const Result<Graph> graph = ReplaceHead(OldGraph(true), {.labels = 2, .pool = PoolKind::kMean});
  ASSERT_TRUE(graph.has_value()) << graph.error().message();
  EXPECT_EQ(graph->FindOutput("pooler_output"), nullptr);
  EXPECT_EQ(graph->FindNode("pooler.dense"), nullptr);
  EXPECT_EQ(std::get<PoolAttrs>(graph->FindNode("classifier.pool")->attrs).kind, PoolKind::kMean);
}

TEST(ReplaceHead, TakesTheFirstTokenWithoutAPooler) {
  const Result<Graph> graph = ReplaceHead(OldGraph(false), {.task = Task::kRegression});
  ASSERT_TRUE(graph.has_value()) << graph.error().message();
  EXPECT_EQ(std::get<PoolAttrs>(graph->FindNode("classifier.pool")->attrs).kind, PoolKind::kFirst);
  EXPECT_EQ(graph->value(graph->FindOutput("logits")->value).type.width, 1);
}

TEST(ReplaceHead, GivesTwoEndsPerTokenForAnswers) {
  const Result<Graph> graph = ReplaceHead(OldGraph(true), {.task = Task::kAnswers});
  ASSERT_TRUE(graph.has_value()) << graph.error().message();
  const ValueType type = graph->value(graph->FindOutput("logits")->value).type;
  EXPECT_EQ(type.width, 2);
  EXPECT_EQ(type.rows, Rows::kTokens);
  EXPECT_NE(graph->FindNode("qa_outputs"), nullptr);
}

TEST(ReplaceHead, StartsFromTheSeed) {
  const auto weights = [](uint64_t seed) {
    const Graph graph = *ReplaceHead(OldGraph(true), {.labels = 2, .seed = seed});
    return graph.FindNode("classifier")->weights[0].tensor.ToFloats();
  };
  EXPECT_EQ(weights(3), weights(3));
  EXPECT_NE(weights(3), weights(4));
}

TEST(FeatureNodes, LeavesTheHeadOut) {
  // words, first, old; with a pooler between the last two.
  EXPECT_EQ(*FeatureNodes(OldGraph(false)), (std::vector<bool>{true, false, false}));
  EXPECT_EQ(*FeatureNodes(OldGraph(true)), (std::vector<bool>{true, true, true, false}));
  Graph blind = OldGraph(true);
  blind.outputs.erase(blind.outputs.begin());
  EXPECT_EQ(FeatureNodes(blind).error().code(), ErrorCode::kUnsupported);
}

TEST(ReplaceHead, RefusesWhatItCannotBuild) {
  EXPECT_EQ(ReplaceHead(OldGraph(true), {.task = Task::kMaskedLm}).error().code(),
            ErrorCode::kUnsupported);
  EXPECT_EQ(ReplaceHead(OldGraph(true), {.labels = 0}).error().code(), ErrorCode::kInvalidArgument);
  Graph blind = OldGraph(true);
  std::erase_if(blind.outputs, [](const auto& o) { return o.name == "last_hidden_state"; });
  EXPECT_EQ(ReplaceHead(blind, {}).error().code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace thimble
