#include "thimble/graph/blocks.h"

#include <gtest/gtest.h>

#include <vector>

namespace thimble {
namespace {

Tensor Ones(Shape shape) {
  const std::vector<float> values(*ElementCount(shape), 1.0f);
  return Tensor::FromFloats(shape, values);
}

class Maker {
 public:
  Builder b;
  ValueId Start() {
    return b.Add(OpKind::kEmbedding, "words", {b.Input(kInputIds)}, {{"w", Ones({5, 4})}});
  }
  ValueId Linear(const std::string& name, ValueId x) {
    return b.Add(OpKind::kLinear, name, {x}, {{name + ".w", Ones({4, 4})}});
  }
  ValueId Norm(const std::string& name, ValueId x) {
    return b.Add(OpKind::kLayerNorm, name, {x},
                 {{name + ".w", Ones({4})}, {name + ".b", Ones({4})}}, LayerNormAttrs{});
  }
  ValueId Attend(const std::string& name, ValueId q, ValueId v) {
    return b.Add(OpKind::kAttention, name, {q, q, v}, {}, AttentionAttrs{2, 0.5});
  }
  ValueId Add(const std::string& name, ValueId x, ValueId y) {
    return b.Add(OpKind::kAdd, name, {x, y});
  }
};

std::vector<std::string> HiddenNames(const Graph& graph) {
  const auto blocks = FindBlocks(graph);
  EXPECT_TRUE(blocks.has_value()) << blocks.error().message();
  std::vector<std::string> names;
  for (const ValueId id : blocks->hidden) {
    for (const Node& node : graph.nodes) {
      if (node.output == id) names.push_back(node.name);
    }
  }
  return names;
}

TEST(FindBlocks, TakesTheNormBetweenPostNormBlocks) {
  Maker m;
  ValueId x = m.Norm("embed", m.Start());
  for (const std::string layer : {"0", "1"}) {
    const ValueId a =
        m.Attend("attend" + layer, m.Linear("q" + layer, x), m.Linear("v" + layer, x));
    x = m.Norm("norm" + layer, m.Add("add" + layer, m.Linear("out" + layer, a), x));
  }
  m.b.Output("last_hidden_state", x);
  EXPECT_EQ(HiddenNames(*std::move(m.b).Finish(8)),
            (std::vector<std::string>{"embed", "norm0", "norm1"}));
}

TEST(FindBlocks, TakesTheResidualStreamOfPreNormBlocks) {
  Maker m;
  ValueId x = m.Start();
  for (const std::string layer : {"0", "1"}) {
    const ValueId n = m.Norm("norm" + layer, x);
    x = m.Add("add" + layer, m.Attend("attend" + layer, n, n), x);
  }
  m.b.Output("last_hidden_state", x);
  EXPECT_EQ(HiddenNames(*std::move(m.b).Finish(8)),
            (std::vector<std::string>{"words", "add0", "add1"}));
}

TEST(FindBlocks, LooksThroughBottlenecks) {
  Maker m;
  ValueId x = m.Norm("embed", m.Start());
  const ValueId z = m.Linear("in", x), s = m.Linear("shared", x);
  const ValueId a = m.Add("residual", m.Attend("attend", m.Linear("q", s), m.Linear("v", x)), z);
  m.b.Output("last_hidden_state", m.Add("outer", m.Linear("out", a), x));
  EXPECT_EQ(HiddenNames(*std::move(m.b).Finish(8)), (std::vector<std::string>{"embed", "outer"}));
}

TEST(FindBlocks, ABlockWhoseAttentionIsRemovedStaysABlock) {
  Maker m;
  ValueId x = m.Norm("embed", m.Start());
  const ValueId gone =
      m.b.Add(OpKind::kAffine, "attend0.removed", {x}, {{"g", Ones({4})}, {"b", Ones({4})}});
  x = m.Norm("norm0", gone);
  const ValueId a = m.Attend("attend1", m.Linear("q", x), m.Linear("v", x));
  x = m.Norm("norm1", m.Add("add1", m.Linear("out", a), x));
  m.b.Output("last_hidden_state", x);
  EXPECT_EQ(HiddenNames(*std::move(m.b).Finish(8)),
            (std::vector<std::string>{"embed", "norm0", "norm1"}));
}

TEST(FindBlocks, RefusesAGraphWithoutAttention) {
  Maker m;
  m.b.Output("last_hidden_state", m.Norm("embed", m.Start()));
  EXPECT_EQ(FindBlocks(*std::move(m.b).Finish(8)).error().code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace thimble
