#include "thimble/passes/lora.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "thimble/base/random.h"
#include "thimble/graph/panels.h"
#include "thimble/passes/passes.h"

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensor Noise(Shape shape, uint64_t seed, double spread = 0.5) {
  Random random(seed);
  std::vector<float> values(*ElementCount(shape));
  for (float& v : values) v = static_cast<float>(spread * random.Normal());
  return Tensor::FromFloats(std::move(shape), values);
}

// One block with two heads, a feed-forward layer as wide as `ffn`, a pooler, and a classifier of three labels.
// `shared`: a second block has the weights of the first.
Graph SmallGraph(bool shared = false) {
  Builder b;
  constexpr int64_t kWidth = 8, kInner = 20;
  const auto linear = [&](const std::string& node, const std::string& name, ValueId x, int64_t n,
                          uint64_t seed) {
    return b.Add(OpKind::kLinear, node, {x},
                 {{name + ".weight", Noise({n, b.type(x).width}, seed)},
                  {name + ".bias", Noise({n}, seed + 100)}});
  };
  const ValueId ids = b.Input(kInputIds);
  ValueId x = b.Add(OpKind::kEmbedding, "words", {ids}, {{"words.weight", Noise({30, kWidth}, 1)}});
  const Tensor query = Noise({kWidth, kWidth}, 2);
  for (int layer = 0; layer < (shared ? 2 : 1); ++layer) {
    const std::string p = "layer." + std::to_string(layer);
    const ValueId q = b.Add(OpKind::kLinear, p + ".q", {x}, {{"block.q_lin.weight", query}});
    const ValueId k = linear(p + ".k", "block.k_lin", x, kWidth, 3);
    const ValueId v = linear(p + ".v", "block.v_lin", x, kWidth, 4);
    ValueId a = b.Add(OpKind::kAttention, p + ".attention", {q, k, v}, {}, AttentionAttrs{2, 0.5});
    a = linear(p + ".output.dense", p + ".output.dense", a, kWidth, 5);
    x = b.Add(OpKind::kAdd, p + ".residual", {a, x});
    ValueId f = linear(p + ".ffn.dense", p + ".ffn.dense", x, kInner, 6);
    f = b.Add(OpKind::kActivation, p + ".gelu", {f}, {}, ActivationAttrs{Activation::kGelu});
    x = b.Add(OpKind::kAdd, p + ".residual2",
              {linear(p + ".ffn.out", p + ".ffn.out", f, kWidth, 7), x});
  }
  b.Output("last_hidden_state", x);
  ValueId p = b.Add(OpKind::kPool, "first", {x}, {}, PoolAttrs{PoolKind::kFirst});
  p = linear("pooler.dense", "pooler.dense", p, kWidth, 8);
  b.Output("pooler_output", p);
  b.Output("logits", linear("classifier", "classifier", p, 3, 9));
  Result<Graph> graph = std::move(b).Finish(16);
  EXPECT_TRUE(graph.has_value());
  return *std::move(graph);
}

Graph Adapted(const Graph& graph, const LoraOptions& options) {
  Result<Graph> result = AddLora(graph, options);
  EXPECT_TRUE(result.has_value()) << result.error().message();
  return *std::move(result);
}

Graph ApplyLora(std::string_view pass, const Graph& graph) {
  Result<Graph> result = RunPass(*FindPass(pass), graph);
  EXPECT_TRUE(result.has_value()) << result.error().message();
  return *std::move(result);
}

std::string ErrorOfLora(const Result<Graph>& graph) {
  if (graph.has_value()) return "no error";
  return graph.error().message();
}

// B as training leaves it: not zero.
Graph Trained(Graph graph) {
  std::vector<std::pair<Tensor, Tensor>> done;
  for (const LoraBranch& branch : FindLora(graph)) {
    Tensor& up = graph.nodes[branch.up].weights[0].tensor;
    const auto known =
        std::find_if(done.begin(), done.end(), [&](const auto& d) { return d.first.SameAs(up); });
    if (known != done.end()) {
      up = known->second;
      continue;
    }
    const Tensor noise = Noise(up.shape(), 40 + done.size(), 0.3);
    done.emplace_back(up, noise);
    up = noise;
  }
  return graph;
}

std::vector<std::string> Targets(const Graph& graph) {
  std::vector<std::string> names;
  for (const LoraBranch& branch : FindLora(graph)) names.push_back(graph.nodes[branch.linear].name);
  return names;
}

constexpr std::array<int32_t, 7> kIds = {3, 17, 5, 9, 1, 28, 4};
constexpr std::array<int32_t, 3> kOffsets = {0, 4, 7};
constexpr std::string_view kOutputs[] = {"last_hidden_state", "logits"};

std::vector<ReferenceValue> Values(const Graph& graph) {
  const std::span<const int32_t> inputs[] = {kIds};
  auto values = RunReference(graph, {kOffsets, {}}, inputs, kOutputs);
  EXPECT_TRUE(values.has_value());
  return *std::move(values);
}

double LargestDifference(const Graph& a, const Graph& b) {
  const auto x = Values(a), y = Values(b);
  double largest = 0;
  for (size_t o = 0; o < x.size(); ++o) {
    for (size_t i = 0; i < x[o].floats.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(x[o].floats[i]) -
                                           static_cast<double>(y[o].floats[i])));
    }
  }
  return largest;
}

TEST(AddLora, StandsBesideTheLinear) {
  const Graph graph = Adapted(SmallGraph(), {.rank = 2, .targets = {"query"}});
  EXPECT_THAT(Print(graph),
              HasSubstr("%2 = linear(%1) [8, 8] f32 -> [tokens, 8]  // layer.0.q\n"
                        "%3 = linear(%1) [2, 8] f32 -> [tokens, 2]  // layer.0.q.lora_A\n"
                        "%4 = linear(%3) [8, 2] f32 -> [tokens, 8]  // layer.0.q.lora_B\n"
                        "%5 = add(%2, %4) -> [tokens, 8]  // layer.0.q.lora\n"));
  EXPECT_THAT(Print(graph), HasSubstr("attention(%5, %6, %7)"));
  EXPECT_EQ(graph.FindNode("layer.0.q.lora_A")->weights[0].name, "block.q_lin.lora_A.weight");
  EXPECT_EQ(graph.FindNode("layer.0.q.lora_B")->weights[0].name, "block.q_lin.lora_B.weight");
}

TEST(AddLora, ComputesTheSameAtFirst) {
  const Graph base = SmallGraph();
  const Graph graph = Adapted(base, {.rank = 3, .targets = {"all"}});
  for (size_t o = 0; o < std::size(kOutputs); ++o) {
    EXPECT_EQ(Values(graph)[o].floats, Values(base)[o].floats) << kOutputs[o];
  }
}

TEST(AddLora, StartsFromTheSeedWithinItsBound) {
  const auto down = [](uint64_t seed) {
    const Graph graph = Adapted(SmallGraph(), {.rank = 4, .targets = {"query"}, .seed = seed});
    return graph.FindNode("layer.0.q.lora_A")->weights[0].tensor.ToFloats();
  };
  EXPECT_EQ(down(3), down(3));
  EXPECT_NE(down(3), down(4));
  for (const float a : down(5)) EXPECT_LE(std::abs(a), 1 / std::sqrt(8.0f));
}

TEST(AddLora, FindsWhatAttentionReadsWhateverItsName) {
  const Graph base = SmallGraph();
  const auto targets = [&](std::vector<std::string> entries) {
    return Targets(Adapted(base, {.rank = 2, .targets = std::move(entries)}));
  };
  EXPECT_THAT(targets({"query", "value"}), ElementsAre("layer.0.q", "layer.0.v"));
  EXPECT_THAT(targets({"key"}), ElementsAre("layer.0.k"));
  EXPECT_THAT(targets({"k_lin", "q"}), ElementsAre("layer.0.q", "layer.0.k"));
  EXPECT_THAT(targets({"dense"}),
              ElementsAre("layer.0.output.dense", "layer.0.ffn.dense", "pooler.dense"));
  EXPECT_THAT(targets({"ffn.*"}), ElementsAre("layer.0.ffn.dense", "layer.0.ffn.out"));
  EXPECT_THAT(targets({"layer.*.dense"}), ElementsAre("layer.0.output.dense", "layer.0.ffn.dense"));
}

TEST(AddLora, AllAreThoseOfTheFeatures) {
  EXPECT_THAT(Targets(Adapted(SmallGraph(), {.rank = 2, .targets = {"all"}})),
              ElementsAre("layer.0.q", "layer.0.k", "layer.0.v", "layer.0.output.dense",
                          "layer.0.ffn.dense", "layer.0.ffn.out", "pooler.dense"));
}

TEST(AddLora, SaysWhatIsWrong) {
  const Graph base = SmallGraph();
  const auto error = [&](const LoraOptions& options) {
    return ErrorOfLora(AddLora(base, options));
  };
  EXPECT_THAT(error({.rank = 2, .targets = {"query", "qery"}}),
              testing::AllOf(HasSubstr("qery"), HasSubstr("all"), HasSubstr("pooler.dense")));
  EXPECT_THAT(error({.rank = 2, .targets = {"classifier"}}), HasSubstr("classifier"));
  EXPECT_THAT(error({.rank = 2, .targets = {"ense"}}), HasSubstr("ense"));
  EXPECT_THAT(error({.rank = 9, .targets = {"query"}}),
              testing::AllOf(HasSubstr("rank 9"), HasSubstr("layer.0.q"), HasSubstr("[8, 8]")));
  EXPECT_THAT(error({.rank = 0}), HasSubstr("at least 1"));
  const Graph twice = Adapted(base, {.rank = 2});
  EXPECT_THAT(ErrorOfLora(AddLora(twice, {.rank = 2})), HasSubstr("already"));
  Graph blind = base;
  std::erase_if(blind.outputs, [](const auto& o) { return o.name == "last_hidden_state"; });
  EXPECT_EQ(AddLora(blind, {.rank = 2}).error().code(), ErrorCode::kUnsupported);
}

// Both sum the same products: W x and B (A x) in double, rounded to float32 after each of three steps, and
// (W + B A) x after one rounding of the matrix. Seven linears of at most 20 terms follow each other.
constexpr double kTolerance = 7 * 20 * 4 / 16777216.0;

TEST(MergeLora, ComputesTheSameInOneMatrix) {
  const Graph base = SmallGraph();
  const Graph adapted = Trained(Adapted(base, {.rank = 3, .targets = {"all"}}));
  const Graph merged = ApplyLora("merge_lora", adapted);
  EXPECT_EQ(Print(merged), Print(base));
  double scale = 0;
  for (const ReferenceValue& value : Values(adapted)) {
    for (const float v : value.floats) scale = std::max(scale, std::abs(static_cast<double>(v)));
  }
  EXPECT_LE(LargestDifference(merged, adapted), kTolerance * scale);
  EXPECT_GT(LargestDifference(merged, base), 0.1 * scale);
  // What has no adapter is shared.
  EXPECT_TRUE(merged.FindNode("classifier")
                  ->weights[0]
                  .tensor.SameAs(base.FindNode("classifier")->weights[0].tensor));
}

TEST(MergeLora, KeepsPanels) {
  Graph graph = Trained(Adapted(SmallGraph(), {.rank = 2, .targets = {"all"}}));
  const Graph rows = ApplyLora("merge_lora", graph);
  for (Node& node : graph.nodes) {
    if (node.op == OpKind::kLinear) node.weights[0].tensor = PackPanels(node.weights[0].tensor);
  }
  const Graph panels = ApplyLora("merge_lora", graph);
  for (const Node& node : panels.nodes) {
    if (node.op != OpKind::kLinear) continue;
    EXPECT_EQ(node.weights[0].tensor.layout(), Layout::kPanels);
    EXPECT_EQ(node.weights[0].tensor.ToFloats(),
              rows.FindNode(node.name)->weights[0].tensor.ToFloats());
  }
}

TEST(MergeLora, WidensHalvesAndRefusesInt8) {
  const Graph halves = ApplyLora("weights_to_f16", SmallGraph());
  const Graph merged = ApplyLora("merge_lora", Trained(Adapted(halves, {.rank = 2})));
  EXPECT_EQ(merged.FindNode("layer.0.q")->weights[0].tensor.dtype(), DType::kF32);
  EXPECT_EQ(merged.FindNode("layer.0.k")->weights[0].tensor.dtype(), DType::kF16);
  const Graph int8 = Adapted(ApplyLora("weights_to_int8", SmallGraph()), {.rank = 2});
  const Result<Graph> refused = MergeLora(int8);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnsupported);
  EXPECT_THAT(refused.error().message(),
              testing::AllOf(HasSubstr("block.q_lin.weight"), HasSubstr("int8")));
}

TEST(MergeLora, KeepsTies) {
  const Graph base = SmallGraph(/*shared=*/true);
  const Graph adapted = Trained(Adapted(base, {.rank = 2, .targets = {"query"}}));
  const auto weight = [](const Graph& graph, const char* node) {
    return graph.FindNode(node)->weights[0].tensor;
  };
  ASSERT_THAT(Targets(adapted), ElementsAre("layer.0.q", "layer.1.q"));
  EXPECT_TRUE(weight(adapted, "layer.0.q.lora_A").SameAs(weight(adapted, "layer.1.q.lora_A")));
  const Graph merged = ApplyLora("merge_lora", adapted);
  EXPECT_TRUE(weight(merged, "layer.0.q").SameAs(weight(merged, "layer.1.q")));
  EXPECT_EQ(ComputeCost(merged, {}).parameters, ComputeCost(base, {}).parameters);
}

TEST(RemoveLora, GivesTheBaseBack) {
  const Graph base = SmallGraph();
  const Graph removed =
      ApplyLora("remove_lora", Trained(Adapted(base, {.rank = 3, .targets = {"all"}})));
  EXPECT_EQ(Print(removed), Print(base));
  for (size_t n = 0; n < base.nodes.size(); ++n) {
    for (size_t w = 0; w < base.nodes[n].weights.size(); ++w) {
      EXPECT_TRUE(removed.nodes[n].weights[w].tensor.SameAs(base.nodes[n].weights[w].tensor));
    }
  }
}

TEST(FindLora, LeavesAloneWhatOnlyLooksLikeOne) {
  const Graph good = Adapted(SmallGraph(), {.rank = 2, .targets = {"query"}});
  ASSERT_EQ(FindLora(good).size(), 1u);
  const LoraBranch branch = FindLora(good)[0];
  const auto found = [](const Graph& graph) { return FindLora(graph).size(); };

  Graph read_twice = good;
  read_twice.outputs.push_back({"low", good.nodes[branch.down].output});
  Graph other_input = good;
  other_input.nodes[branch.down].inputs = {good.nodes[branch.linear].output};
  Graph swapped = good;
  std::swap(swapped.nodes[branch.sum].inputs[0], swapped.nodes[branch.sum].inputs[1]);
  Graph biased = good;
  biased.nodes[branch.up].weights.push_back({"b", Noise({8}, 1)});
  Graph renamed = good;
  renamed.nodes[branch.linear].name = "another";
  for (const Graph* graph : {&read_twice, &other_input, &swapped, &biased, &renamed}) {
    EXPECT_EQ(found(*graph), 0u) << Print(*graph);
  }
  EXPECT_EQ(Print(ApplyLora("remove_lora", read_twice)), Print(read_twice));
}

}  // namespace
}  // namespace thimble
