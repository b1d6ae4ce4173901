#include "thimble/passes/passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "thimble/formats/thimble/example_model.h"
#include "thimble/graph/block_sparse.h"
#include "thimble/graph/panels.h"
#include "thimble/passes/weights_to_block_sparse.h"

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

// [32, 40]: ten blocks, of which the first `kept` are not zero.
Tensor Blocks(size_t kept) {
  std::vector<float> values(32 * 40);
  for (size_t i = 0; i < kept; ++i) values[i / 5 * 16 * 40 + i % 5 * kBlockInputs] = 1.5f;
  return Tensor::FromFloats({32, 40}, values);
}

TEST(WeightsToBlockSparse, ConvertsBelowTheBreakEvenAlone) {
  for (size_t kept = 0; kept <= 10; ++kept) {
    const double density = static_cast<double>(kept) / 10;
    const Tensor weight = Blocks(kept);
    for (const Layout layout : {Layout::kRowMajor, Layout::kPanels}) {
      const Graph after = Apply("weights_to_block_sparse", SmallGraph(weight.InLayout(layout)));
      const Tensor& stored = WeightOf(after, "dense");
      EXPECT_EQ(stored.layout(), density < kBlockSparseBreakEven ? Layout::kBlockSparse : layout)
          << kept;
      EXPECT_EQ(stored.ToFloats(), weight.ToFloats());
      EXPECT_EQ(WeightOf(after, "words").layout(), Layout::kRowMajor);
      EXPECT_EQ(WeightOf(after, "head").layout(), Layout::kRowMajor);
    }
  }
}

TEST(WeightsToBlockSparse, KeepsTiesAndLeavesOtherTypes) {
  Graph graph = SmallGraph(Tensor::FromFloats({40, 40}, std::vector<float>(1600)));
  Node again = *graph.FindNode("dense");
  graph.nodes.insert(graph.nodes.begin() + 2, again);
  graph.nodes[2].name = "again";
  graph.nodes[2].inputs = {graph.nodes[1].output};
  graph.nodes[2].output = ValueId{static_cast<int32_t>(graph.values.size())};
  graph.values.push_back({"again", graph.value(again.output).type});
  graph.nodes[3].inputs = {graph.nodes[2].output};
  const Graph sparse = Apply("weights_to_block_sparse", graph);
  EXPECT_EQ(WeightOf(sparse, "dense").layout(), Layout::kBlockSparse);
  EXPECT_TRUE(WeightOf(sparse, "dense").SameAs(WeightOf(sparse, "again")));

  for (const char* type : {"weights_to_f16", "weights_to_int8"}) {
    const Graph typed = Apply("weights_to_block_sparse", Apply(type, graph));
    EXPECT_EQ(WeightOf(typed, "dense").layout(), Layout::kRowMajor) << type;
  }
}

TEST(WeightsToBlockSparse, IsReadByTheOtherConversions) {
  const Tensor weight = Blocks(3);
  const Graph sparse = Apply("weights_to_block_sparse", SmallGraph(weight));
  for (const char* type : {"weights_to_f32", "weights_to_f16"}) {
    const Graph dense = Apply(type, sparse);
    EXPECT_EQ(WeightOf(dense, "dense").layout(), Layout::kRowMajor) << type;
    EXPECT_EQ(WeightOf(dense, "dense").ToFloats(), weight.ToFloats()) << type;
  }
  EXPECT_EQ(WeightOf(Apply("weights_to_int8", sparse), "dense").dtype(), DType::kI8);
}

TEST(WeightsToInt8, RefusesWhatIsNotFinite) {
  const std::vector<float> values = {1.0f, 2.0f, 3.0f, std::numeric_limits<float>::infinity()};
  EXPECT_THAT(ErrorOf("weights_to_int8", SmallGraph(Tensor::FromFloats({2, 2}, values))),
              testing::AllOf(HasSubstr("dense.weight"), HasSubstr("row 1")));
}

}  // namespace
}  // namespace thimble
