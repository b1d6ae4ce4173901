#include "thimble/passes/structures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/base/random.h"
#include "thimble/passes/lora.h"
#include "thimble/passes/shrink.h"

namespace thimble {
namespace {

using testing::HasSubstr;

// A hidden state 8 wide; what a test adds reads it.
class Maker {
 public:
  Builder b;

  Tensor Values(Shape shape) {
    std::vector<float> values(*ElementCount(shape));
    for (float& v : values) v = static_cast<float>(random_.Normal());
    return Tensor::FromFloats(std::move(shape), values);
  }
  ValueId Start() {
    return b.Add(OpKind::kEmbedding, "words", {b.Input(kInputIds)}, {{"words.w", Values({9, 8})}});
  }
  ValueId Linear(const std::string& name, ValueId x, int64_t outputs) {
    return b.Add(OpKind::kLinear, name, {x},
                 {{name + ".weight", Values({outputs, b.type(x).width})},
                  {name + ".bias", Values({outputs})}});
  }
  ValueId Act(const std::string& name, ValueId x) {
    return b.Add(OpKind::kActivation, name, {x}, {}, ActivationAttrs{Activation::kGelu});
  }
  ValueId Affine(const std::string& name, ValueId x) {
    const int64_t width = b.type(x).width;
    return b.Add(OpKind::kAffine, name, {x},
                 {{name + ".w", Values({width})}, {name + ".b", Values({width})}});
  }
  ValueId Sum(const std::string& name, ValueId x, ValueId y) {
    return b.Add(OpKind::kAdd, name, {x, y});
  }
  ValueId Attend(const std::string& name, ValueId q, ValueId k, ValueId v) {
    return b.Add(OpKind::kAttention, name, {q, k, v}, {}, AttentionAttrs{2, 0.5});
  }
  // Queries and keys of heads 3 wide, values of heads 2 wide.
  ValueId Attention(const std::string& name, ValueId x) {
    return Attend(name, Linear(name + ".q", x, 6), Linear(name + ".k", x, 6),
                  Linear(name + ".v", x, 4));
  }
  Graph Finish(ValueId hidden) {
    b.Output("last_hidden_state", hidden);
    Result<Graph> graph = std::move(b).Finish(16);
    EXPECT_TRUE(graph.has_value()) << graph.error().message();
    return *std::move(graph);
  }

 private:
  Random random_{5};
};

std::vector<std::string> Names(const std::vector<Structure>& structures) {
  std::vector<std::string> names;
  for (const Structure& s : structures) names.push_back(s.name);
  return names;
}

std::string ReasonOf(const Graph& graph, const std::string& name) {
  for (const FixedStructure& fixed : FindFixedStructures(graph)) {
    if (fixed.name == name) return fixed.reason;
  }
  return "not listed";
}

std::vector<float> Hidden(const Graph& graph) {
  const std::vector<int32_t> ids{1, 4, 7, 2, 8}, offsets{0, 3, 5};
  const std::span<const int32_t> inputs[] = {ids};
  const std::string_view outputs[] = {"last_hidden_state"};
  const auto values = RunReference(graph, {offsets, {}}, inputs, outputs);
  EXPECT_TRUE(values.has_value()) << values.error().message();
  return (*values)[0].floats;
}

// With zeros in the columns of the consumer that are not of `units`.
Graph Masked(Graph graph, const Structure& s, const std::vector<int64_t>& units) {
  Tensor& weight = graph.nodes[s.consumer].weights[0].tensor;
  std::vector<float> values = weight.ToFloats();
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t unit = static_cast<int64_t>(i) % weight.dim(1) / s.unit_width;
    if (std::find(units.begin(), units.end(), unit) == units.end()) values[i] = 0;
  }
  weight = Tensor::FromFloats(weight.shape(), values);
  return graph;
}

TEST(FindStructures, HeadsOfValuesAndQueriesMayDifferInWidth) {
  Maker m;
  const ValueId x = m.Start();
  const Graph graph = m.Finish(m.Sum("add", x, m.Linear("out", m.Attention("attend", x), 8)));
  const auto found = FindStructures(graph);
  ASSERT_EQ(Names(found), std::vector<std::string>{"attend"});
  EXPECT_EQ(found[0].kind, StructureKind::kHeads);
  EXPECT_EQ(found[0].units, 2);
  EXPECT_EQ(found[0].unit_width, 2);
  EXPECT_EQ(graph.nodes[found[0].consumer].name, "out");
  const Result<Graph> shrunk = Shrink(graph, {{{"attend", {1}, std::nullopt}}});
  ASSERT_TRUE(shrunk.has_value()) << shrunk.error().message();
  EXPECT_EQ(Hidden(*shrunk), Hidden(Masked(graph, found[0], {1})));
  EXPECT_EQ(shrunk->FindNode("attend.q")->weights[0].tensor.shape(), (Shape{3, 8}));
  EXPECT_EQ(std::get<AttentionAttrs>(shrunk->FindNode("attend")->attrs).scale, 0.5);
}

TEST(FindStructures, LooksThroughElementwiseNodes) {
  Maker m;
  const ValueId x = m.Start();
  ValueId y = m.Affine("affine", m.Linear("in", x, 5));
  y = m.Linear("out", m.Act("act", y), 8);
  const Graph graph = m.Finish(m.Sum("add", y, x));
  const auto found = FindStructures(graph);
  ASSERT_EQ(Names(found), std::vector<std::string>{"in"});
  EXPECT_EQ(found[0].units, 5);
  const Result<Graph> shrunk = Shrink(graph, {{{"in", {0, 3}, std::nullopt}}});
  ASSERT_TRUE(shrunk.has_value()) << shrunk.error().message();
  EXPECT_EQ(Hidden(*shrunk), Hidden(Masked(graph, found[0], {0, 3})));
}

TEST(FindStructures, ALinearMayBeCutOnBothSides) {
  Maker m;
  const ValueId x = m.Start();
  const ValueId y = m.Act("act1", m.Linear("middle", m.Act("act0", m.Linear("in", x, 5)), 6));
  const Graph graph = m.Finish(m.Sum("add", m.Linear("out", y, 8), x));
  const auto found = FindStructures(graph);
  ASSERT_EQ(Names(found), (std::vector<std::string>{"in", "middle"}));
  EXPECT_FALSE(found[0].removable);  // an activation reads what it gives
  EXPECT_TRUE(found[1].removable);
  const std::vector<float> updated(3 * 6, 0.25f);
  const Result<Graph> shrunk = Shrink(
      graph,
      {{{"in", {0, 2, 4}, Tensor::FromFloats({6, 3}, updated)}, {"middle", {1, 5}, std::nullopt}}});
  ASSERT_TRUE(shrunk.has_value()) << shrunk.error().message();
  EXPECT_EQ(shrunk->FindNode("middle")->weights[0].tensor.shape(), (Shape{2, 3}));
  EXPECT_EQ(shrunk->FindNode("middle")->weights[0].tensor.floats()[5], 0.25f);
  const Result<Graph> none = Shrink(graph, {{{"in", {}, std::nullopt}}});
  ASSERT_FALSE(none.has_value());
  EXPECT_THAT(none.error().message(), HasSubstr("cannot go as a whole"));
}

TEST(FindStructures, LeavesFactorsOfAMatrixAlone) {
  Maker m;
  const ValueId x = m.Start();
  const Graph graph = m.Finish(m.Sum("add", m.Linear("up", m.Linear("down", x, 3), 8), x));
  EXPECT_TRUE(FindStructures(graph).empty());
  EXPECT_TRUE(FindFixedStructures(graph).empty());
}

TEST(FindStructures, LeavesTheHeadAlone) {
  Maker m;
  const ValueId x = m.Start();
  const ValueId first = m.b.Add(OpKind::kPool, "first", {x}, {}, PoolAttrs{PoolKind::kFirst});
  m.b.Output("logits", m.Linear("out", m.Act("act", m.Linear("pooler", first, 6)), 3));
  EXPECT_TRUE(FindStructures(m.Finish(x)).empty());
}

TEST(FindStructures, SaysWhyOneIsFixed) {
  Maker m;
  const ValueId x = m.Start();
  // Two readers of what a linear gives, of queries, and of an attention; one that no linear reads.
  ValueId y = m.Act("act", m.Linear("in", x, 8));
  y = m.Sum("add0", m.Linear("out", y, 8), y);
  const ValueId q = m.Linear("q", y, 8);
  y = m.Sum("add1", m.Linear("out1", m.Attend("shared_q", q, m.Linear("k", y, 8), q), 8), y);
  const ValueId a = m.Attend("bare", m.Linear("q2", y, 8), m.Linear("k2", y, 8), y);
  y = m.Sum("add2", m.Linear("out2", a, 8), y);
  y = m.Sum("add3",
            m.Attend("unread", m.Linear("q3", y, 8), m.Linear("k3", y, 8), m.Linear("v3", y, 8)),
            y);
  const Graph graph = m.Finish(y);
  EXPECT_TRUE(FindStructures(graph).empty());
  EXPECT_EQ(ReasonOf(graph, "in"), "act is read by others too");
  EXPECT_EQ(ReasonOf(graph, "shared_q"), "its queries are read by others too");
  EXPECT_EQ(ReasonOf(graph, "bare"), "its values come from add, not from a linear");
  EXPECT_EQ(ReasonOf(graph, "unread"), "no linear reads it");
  const Result<Graph> shrunk = Shrink(graph, {{{"bare", {0}, std::nullopt}}});
  ASSERT_FALSE(shrunk.has_value());
  EXPECT_EQ(shrunk.error().message(),
            "bare: it cannot be cut: its values come from add, not from a linear");
}

TEST(FindStructures, RefusesAdapters) {
  Maker m;
  const ValueId x = m.Start();
  ValueId y = m.Sum("add", x, m.Linear("out", m.Attention("attend", x), 8));
  y = m.Sum("add2", m.Linear("ffn_out", m.Act("act", m.Linear("ffn_in", y, 6)), 8), y);
  const Graph graph = m.Finish(y);
  ASSERT_EQ(FindStructures(graph).size(), 2u);
  const Result<Graph> adapted = AddLora(graph, {.rank = 2, .targets = {"all"}});
  ASSERT_TRUE(adapted.has_value()) << adapted.error().message();
  EXPECT_TRUE(FindStructures(*adapted).empty());
  EXPECT_THAT(ReasonOf(*adapted, "attend"), HasSubstr("is read by others too"));
  const Result<Graph> queries = AddLora(graph, {.rank = 2, .targets = {"query", "ffn_in"}});
  ASSERT_TRUE(queries.has_value()) << queries.error().message();
  EXPECT_TRUE(FindStructures(*queries).empty());
  EXPECT_THAT(ReasonOf(*queries, "attend"), HasSubstr("merge the adapter first"));
  EXPECT_THAT(ReasonOf(*queries, "ffn_in.lora"), HasSubstr("merge the adapter first"));
}

// Layers that share only some of the weights that a cut changes cannot be cut alike.
TEST(FindStructures, WeightsSharedInPartAreFixed) {
  Maker m;
  const ValueId x = m.Start();
  const Weight in{"in.weight", m.Values({5, 8})}, out{"out.weight", m.Values({8, 5})};
  const auto layer = [&](const std::string& name, ValueId y, const Weight& first) {
    ValueId f = m.b.Add(OpKind::kLinear, name, {y}, {first});
    f = m.b.Add(OpKind::kLinear, name + ".out", {m.Act(name + ".act", f)}, {out});
    return m.Sum(name + ".add", f, y);
  };
  ValueId y = layer("0", x, in);
  y = layer("1", y, {"other.weight", m.Values({5, 8})});
  const Graph graph = m.Finish(y);
  EXPECT_TRUE(FindStructures(graph).empty());
  EXPECT_EQ(ReasonOf(graph, "0"), "it shares a weight with 1.out, which cannot be cut alike");
}

TEST(Shrink, NamesWhatIsWrong) {
  Maker m;
  const ValueId x = m.Start();
  const Graph graph = m.Finish(m.Sum("add", x, m.Linear("out", m.Attention("attend", x), 8)));
  const auto error = [&](std::vector<Kept> kept) {
    const Result<Graph> shrunk = Shrink(graph, kept);
    return shrunk.has_value() ? "no error" : shrunk.error().message();
  };
  EXPECT_EQ(error({{"attention", {0}, {}}}),
            "attention: there is no such structure; there is \"attend\"");
  EXPECT_EQ(error({{"attend", {0}, {}}, {"attend", {0}, {}}}), "attend: it is named twice");
  EXPECT_EQ(error({{"attend", {0, 2}, {}}}),
            "attend: units to keep must rise and be below 2, but there is 2");
  EXPECT_EQ(error({{"attend", {1, 0}, {}}}),
            "attend: units to keep must rise and be below 2, but there is 0");
  EXPECT_EQ(error({{"attend", {1}, m.Values({8, 4})}}),
            "the new weight of out is [8, 4] f32, must be floats [8, 2]");
  EXPECT_EQ(error({{"attend", {}, m.Values({8, 4})}}),
            "attend: a sub-layer that goes as a whole takes no weight");
}

}  // namespace
}  // namespace thimble
