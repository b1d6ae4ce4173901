#include "thimble/passes/passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "thimble/formats/thimble/example_model.h"
#include "thimble/graph/panels.h"

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const Tensor& WeightOf(const Graph& graph, std::string_view node, size_t i = 0) {
  return graph.FindNode(node)->weights[i].tensor;
}

// ids -> table -> linear `weight` -> linear head
Graph SmallGraph(const Tensor& weight) {
  Builder b;
  const std::vector<float> ones(64 * 64, 1.0f);
  const auto matrix = [&](int64_t rows, int64_t columns) {
    return Tensor::FromFloats({rows, columns},
                              std::span(ones).first(static_cast<size_t>(rows * columns)));
  };
  ValueId x = b.Input(kInputIds);
  x = b.Add(OpKind::kEmbedding, "words", {x}, {{"words.weight", matrix(5, weight.dim(1))}});
  x = b.Add(OpKind::kLinear, "dense", {x}, {{"dense.weight", weight}});
  x = b.Add(OpKind::kLinear, "head", {x}, {{"head.weight", matrix(3, weight.dim(0))}});
  b.Output("logits", x);
  Result<Graph> graph = std::move(b).Finish(8);
  EXPECT_TRUE(graph.has_value());
  return *std::move(graph);
}

Graph Apply(std::string_view pass, const Graph& graph) {
  Result<Graph> result = RunPass(*FindPass(pass), graph);
  EXPECT_TRUE(result.has_value()) << result.error().message();
  return *std::move(result);
}

std::string ErrorOf(std::string_view pass, const Graph& graph) {
  const Result<Graph> result = RunPass(*FindPass(pass), graph);
  return result.has_value() ? "no error" : result.error().message();
}

TEST(Passes, AreFoundByName) {
  for (const Pass& pass : AllPasses()) EXPECT_EQ(FindPass(pass.name), &pass);
  EXPECT_EQ(FindPass("no_such_pass"), nullptr);
}

TEST(WeightsToF16, RoundsMatricesAndLeavesTheRest) {
  const Graph before = ExampleModel().graph;
  const Graph after = Apply("weights_to_f16", before);
  for (const Node& node : after.nodes) {
    for (size_t i = 0; i < node.weights.size(); ++i) {
      const Tensor& old = before.FindNode(node.name)->weights[i].tensor;
      const bool matrix = node.weights[i].tensor.rank() == 2;
      EXPECT_EQ(node.weights[i].tensor.dtype(), matrix ? DType::kF16 : DType::kF32) << node.name;
      // The example's numbers are multiples of 1/8: float16 holds them.
      EXPECT_EQ(node.weights[i].tensor.ToFloats(), old.ToFloats());
    }
  }
  EXPECT_TRUE(WeightOf(after, "words").SameAs(WeightOf(after, "decoder")));
  EXPECT_EQ(WeightOf(before, "words").dtype(), DType::kF32);
}

TEST(WeightsToF16, RefusesWhatItCannotHold) {
  const std::vector<float> big = {1.0f, 65520.0f};
  EXPECT_THAT(ErrorOf("weights_to_f16", SmallGraph(Tensor::FromFloats({1, 2}, big))),
              testing::AllOf(HasSubstr("dense.weight"), HasSubstr("65520")));
}

TEST(WeightsToInt8, GivesEachRowItsScale) {
  const std::vector<float> values = {127.0f, -63.5f, 0.4f, 0.0f, 0.0f, 0.0f, 0.015f, -0.02f, 0.0f};
  const Graph graph = Apply("weights_to_int8", SmallGraph(Tensor::FromFloats({3, 3}, values)));
  const Tensor& weight = WeightOf(graph, "dense");
  ASSERT_EQ(weight.dtype(), DType::kI8);
  EXPECT_THAT(std::vector(weight.scales().begin(), weight.scales().end()),
              ElementsAre(1.0f, 0.0f, 0.02f / 127));
  const auto* q = reinterpret_cast<const int8_t*>(weight.data().data());
  EXPECT_THAT(std::vector(q, q + 9), ElementsAre(127, -64, 0, 0, 0, 0, 95, -127, 0));
}

TEST(WeightsToInt8, IsWithinHalfAStep) {
  std::vector<float> values(40 * 30);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i * i));
  const Tensor dense = Tensor::FromFloats({40, 30}, values);
  const Graph graph = Apply("weights_to_int8", SmallGraph(dense));
  const Tensor& weight = WeightOf(graph, "dense");
  const std::vector<float> back = weight.ToFloats();
  for (size_t i = 0; i < values.size(); ++i) {
    // Half a step, and the rounding of w / scale and q * scale.
    EXPECT_NEAR(back[i], values[i], weight.scales()[i / 30] * 0.5001f) << i;
  }
}

TEST(WeightsToInt8, KeepsClassifiersAndHalvesPositions) {
  Graph before = ExampleModel().graph;
  const Graph after = Apply("weights_to_int8", before);
  EXPECT_EQ(WeightOf(after, "words").dtype(), DType::kI8);
  EXPECT_EQ(WeightOf(after, "query").dtype(), DType::kI8);
  EXPECT_EQ(WeightOf(after, "query", 1).dtype(), DType::kF32);
  EXPECT_EQ(WeightOf(after, "positions").dtype(), DType::kF16);
  EXPECT_EQ(WeightOf(after, "decoder").dtype(), DType::kF32);
  EXPECT_EQ(WeightOf(after, "norm").dtype(), DType::kF32);
}

TEST(WeightsToInt8, KeepsTiesAndReadsPanels) {
  Graph graph = ExampleModel().graph;
  Node* query = &graph.nodes[5];
  ASSERT_EQ(query->name, "query");
  const std::vector<float> values = query->weights[0].tensor.ToFloats();
  const Graph from_rows = Apply("weights_to_int8", graph);
  query->weights[0].tensor = PackPanels(query->weights[0].tensor);
  const Graph from_panels = Apply("weights_to_int8", graph);
  EXPECT_EQ(WeightOf(from_panels, "query").ToFloats(), WeightOf(from_rows, "query").ToFloats());

  // Without the output that keeps it, the decoder shares the words' codes.
  graph.outputs.pop_back();
  const Graph tied = Apply("weights_to_int8", graph);
  EXPECT_TRUE(WeightOf(tied, "decoder").SameAs(WeightOf(tied, "words")));
}

TEST(WeightsToInt8, RefusesWhatIsNotFinite) {
  const std::vector<float> values = {1.0f, 2.0f, 3.0f, std::numeric_limits<float>::infinity()};
  EXPECT_THAT(ErrorOf("weights_to_int8", SmallGraph(Tensor::FromFloats({2, 2}, values))),
              testing::AllOf(HasSubstr("dense.weight"), HasSubstr("row 1")));
}

}  // namespace
}  // namespace thimble
