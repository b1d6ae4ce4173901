#include "thimble/graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace thimble {
namespace {

Weight Filled(std::string name, Shape shape, float value) {
  const std::vector<float> values(*ElementCount(shape), value);
  return {std::move(name), Tensor::FromFloats(std::move(shape), values)};
}

// Embedding, two linears with a residual, a norm, attention, pool; the decoder is tied to the
// embedding.
Graph Small() {
  Builder b;
  const ValueId ids = b.Input(kInputIds);
  const Weight table = Filled("words.weight", {10, 4}, 0.5f);
  const ValueId x = b.Add(OpKind::kEmbedding, "words", {ids}, {table});
  ValueId h = b.Add(OpKind::kLinear, "dense", {x},
                    {Filled("dense.weight", {4, 4}, 0.25f), Filled("dense.bias", {4}, 1)});
  h = b.Add(OpKind::kAdd, "residual", {h, x});
  h = b.Add(OpKind::kLayerNorm, "norm", {h},
            {Filled("norm.weight", {4}, 1), Filled("norm.bias", {4}, 2)}, LayerNormAttrs{1e-5});
  h = b.Add(OpKind::kAttention, "attention", {h, h, h}, {}, AttentionAttrs{2, 0.5});
  b.Output("last_hidden_state", h);
  b.Output("decoded", b.Add(OpKind::kLinear, "decoder", {h}, {table}));
  ValueId first = b.Add(OpKind::kPool, "first", {h}, {}, PoolAttrs{});
  first = b.Add(OpKind::kActivation, "tanh", {first}, {}, ActivationAttrs{Activation::kTanh});
  b.Output("pooler_output", first);
  return *std::move(b).Finish(16);
}

TEST(Print, ShowsOneLinePerNode) {
  EXPECT_EQ(Print(Small()),
            "%0 = input input_ids\n"
            "%1 = embedding(%0) [10, 4] f32 -> [tokens, 4]  // words\n"
            "%2 = linear(%1) [4, 4] f32, [4] f32 -> [tokens, 4]  // dense\n"
            "%3 = add(%2, %1) -> [tokens, 4]  // residual\n"
            "%4 = layer_norm(%3) [4] f32, [4] f32 epsilon=1e-05 -> [tokens, 4]  // norm\n"
            "%5 = attention(%4, %4, %4) heads=2 scale=0.5 -> [tokens, 4]  // attention\n"
            "%6 = linear(%5) [10, 4] f32 -> [tokens, 10]  // decoder\n"
            "%7 = pool(%5) kind=first -> [sequences, 4]  // first\n"
            "%8 = activation(%7) function=tanh -> [sequences, 4]  // tanh\n"
            "output last_hidden_state = %5\n"
            "output decoded = %6\n"
            "output pooler_output = %8\n");
}

TEST(Graph, FindsByName) {
  const Graph graph = Small();
  EXPECT_EQ(graph.FindOutput("decoded")->value, graph.FindNode("decoder")->output);
  EXPECT_EQ(graph.FindOutput("logits"), nullptr);
  EXPECT_EQ(graph.FindNode("nothing"), nullptr);
}

TEST(Graph, KnowsEveryOperationByName) {
  for (size_t i = 0; i < kOpCount; ++i) {
    const OpInfo& op = GetOp(static_cast<OpKind>(i));
    EXPECT_EQ(op.kind, static_cast<OpKind>(i));
    EXPECT_EQ(FindOp(op.name), &op);
    EXPECT_LT(op.attribute_index, std::variant_size_v<Attributes>);
  }
  EXPECT_EQ(FindOp("conv3d"), nullptr);
}

TEST(Cost, CountsTiedWeightsOnceAndProductsTwice) {
  const GraphCost cost = ComputeCost(Small(), {.tokens = 6, .sequences = 2});
  EXPECT_EQ(cost.parameters, 40 + 16 + 4 + 8);
  ASSERT_EQ(cost.nodes.size(), 8u);
  EXPECT_EQ(cost.nodes[0].parameters, 40);
  EXPECT_EQ(cost.nodes[5].parameters, 40);
  EXPECT_EQ(cost.nodes[5].cost.macs, 6 * 40);
  EXPECT_EQ(cost.total.macs, 6 * 16 + 6 * 3 * 8 + 6 * 40);
  EXPECT_EQ(cost.total.weight_bytes, 6 * 16 + 80 + 32 + 160);
}

// --- The verifier: one change to a good graph each, and what is said about it.

struct Damage {
  const char* message;
  std::function<void(Graph&)> apply;
};

TEST(Verify, AcceptsWhatTheBuilderGives) { EXPECT_TRUE(Verify(Small()).has_value()); }

TEST(Verify, NamesWhatIsWrong) {
  const Damage damages[] = {
      {"an input of the graph is not a value", [](Graph& g) { g.inputs[0] = ValueId{99}; }},
      {"an input of the graph is not a value", [](Graph& g) { g.inputs[0] = kNoValue; }},
      {"input input_ids is listed twice", [](Graph& g) { g.inputs.push_back(g.inputs[0]); }},
      {"input 'pixels' is not one that executors can fill",
       [](Graph& g) { g.values[0].name = "pixels"; }},
      {"input input_ids is not a column of ids", [](Graph& g) { g.values[0].type.width = 2; }},
      {"two values are called 'dense'", [](Graph& g) { g.values[3].name = "dense"; }},
      {"a value has no name", [](Graph& g) { g.values[3].name.clear(); }},
      {"two nodes are called 'words'", [](Graph& g) { g.nodes[1].name = "words"; }},
      {"a node has no name", [](Graph& g) { g.nodes[1].name.clear(); }},
      {"a node has no operation", [](Graph& g) { g.nodes[1].op = static_cast<OpKind>(200); }},
      {"dense reads a value that is not computed before it",
       [](Graph& g) { g.nodes[1].inputs[0] = ValueId{4}; }},
      {"dense reads a value that is not computed before it",
       [](Graph& g) { g.nodes[1].inputs[0] = ValueId{-7}; }},
      {"residual reads a value that is not computed before it",
       [](Graph& g) { std::swap(g.nodes[1], g.nodes[2]); }},
      {"residual writes a value that is not its own",
       [](Graph& g) { g.nodes[2].output = g.nodes[1].output; }},
      {"residual writes a value that is not its own",
       [](Graph& g) { g.nodes[2].output = kNoValue; }},
      {"residual gives another type than its value is declared with",
       [](Graph& g) { g.values[3].type.width = 5; }},
      {"attention attention carries the attributes of another operation",
       [](Graph& g) { g.nodes[4].attrs = PoolAttrs{}; }},
      {"attention attention: widths 4 and 4 do not divide into 3 heads",
       [](Graph& g) {
         g.nodes[4].attrs = AttentionAttrs{3, 1.0};
       }},
      {"linear dense: takes 1 to 2 weights, has 0", [](Graph& g) { g.nodes[1].weights.clear(); }},
      {"output decoded is not computed", [](Graph& g) { g.outputs[1].value = ValueId{50}; }},
      {"output decoded is a column of ids", [](Graph& g) { g.outputs[1].value = ValueId{0}; }},
      {"two outputs are called 'decoded'", [](Graph& g) { g.outputs[0].name = "decoded"; }},
      {"the graph has no output", [](Graph& g) { g.outputs.clear(); }},
      {"value stray is not computed",
       [](Graph& g) {
         g.values.push_back({"stray", g.values[1].type});
       }},
      {"the longest sequence has no token", [](Graph& g) { g.max_sequence_length = 0; }},
  };
  for (const Damage& damage : damages) {
    Graph graph = Small();
    damage.apply(graph);
    const Status status = Verify(graph);
    ASSERT_FALSE(status.has_value()) << damage.message;
    EXPECT_EQ(status.error().message(), damage.message);
  }
}

// Every trigram triples the width; a file could stack enough of them to overflow any integer.
TEST(Verify, BoundsWidthsThatNoWeightBacks) {
  Builder b;
  ValueId x =
      b.Add(OpKind::kEmbedding, "words", {b.Input(kInputIds)}, {Filled("words.weight", {2, 4}, 1)});
  for (int i = 0; i < 50; ++i) x = b.Add(OpKind::kTrigram, std::to_string(i), {x});
  b.Output("out", x);
  const Result<Graph> graph = std::move(b).Finish(1);
  ASSERT_FALSE(graph.has_value());
  EXPECT_EQ(graph.error().message(),
            "trigram 13 gives rows of width 19131876, the most is 16777216");
}

TEST(Builder, KeepsTheFirstErrorAndDoesNothingAfterIt) {
  Builder b;
  const ValueId ids = b.Input(kInputIds);
  EXPECT_EQ(b.Add(OpKind::kAdd, "first", {ids, ids}), kNoValue);
  EXPECT_FALSE(b.ok());
  EXPECT_EQ(b.Input(kTokenTypeIds), kNoValue);
  EXPECT_EQ(b.Add(OpKind::kTrigram, "second", {kNoValue}), kNoValue);
  b.Fail(InvalidData("third"));
  b.Output("logits", kNoValue);
  EXPECT_EQ(b.type(kNoValue).width, 0);
  const Result<Graph> graph = std::move(b).Finish(1);
  ASSERT_FALSE(graph.has_value());
  EXPECT_EQ(graph.error().message(), "add first: takes numbers, not ids");
}

TEST(Builder, ReportsAnErrorOfItsCaller) {
  Builder b;
  b.Fail(NotFound("no such weight"));
  const Result<Graph> graph = std::move(b).Finish(1);
  ASSERT_FALSE(graph.has_value());
  EXPECT_EQ(graph.error().code(), ErrorCode::kNotFound);
}

// --- The reference executor

Result<std::vector<ReferenceValue>> RunSmall(std::vector<int32_t> ids, std::vector<int32_t> offsets,
                                             std::vector<uint8_t> mask,
                                             std::vector<std::string_view> outputs) {
  const std::span<const int32_t> inputs[] = {ids};
  return RunReference(Small(), {offsets, mask}, inputs, outputs);
}

// Constant rows normalise to the bias, 2; so does every average of them.
TEST(Reference, GivesOutputsInTheOrderAskedFor) {
  const auto values = RunSmall({1, 9, 0}, {0, 2, 3}, {}, {"decoded", "last_hidden_state"});
  ASSERT_TRUE(values.has_value()) << values.error().message();
  ASSERT_EQ(values->size(), 2u);
  EXPECT_EQ((*values)[0].floats, std::vector<float>(3 * 10, 4.0f));
  EXPECT_EQ((*values)[1].floats, std::vector<float>(3 * 4, 2.0f));
}

std::string RunError(std::vector<int32_t> ids, std::vector<int32_t> offsets,
                     std::vector<uint8_t> mask = {}, std::string_view output = "decoded") {
  const auto values = RunSmall(std::move(ids), std::move(offsets), std::move(mask), {output});
  return values.has_value() ? "accepted" : values.error().message();
}

TEST(Reference, RefusesBatchesThatAreNone) {
  EXPECT_EQ(RunError({}, {}), "the batch has no sequence");
  EXPECT_EQ(RunError({}, {0}), "the batch has no sequence");
  EXPECT_EQ(RunError({1, 2}, {1, 2}), "the batch has no sequence");
  EXPECT_EQ(RunError({1}, {0, 1, 1}), "sequence 1 of the batch is empty");
  EXPECT_EQ(RunError({1, 2}, {0, 2, 1}), "sequence 1 of the batch is empty");
  EXPECT_EQ(RunError({1, 2}, {0, 2}, {1}), "the mask has 1 entries for 2 tokens");
  EXPECT_EQ(RunError({1, 2, 3}, {0, 2}), "input input_ids needs 2 ids");
  EXPECT_EQ(RunError({1, 10}, {0, 2}), "words: id 10 is not in the table of 10 rows");
  EXPECT_EQ(RunError({1}, {0, 1}, {}, "logits"), "the graph has no output 'logits'");
}

}  // namespace
}  // namespace thimble
