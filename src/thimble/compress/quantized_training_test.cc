#include "thimble/compress/quantized_training.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "thimble/formats/thimble/example_model.h"
#include "thimble/passes/weights_by_group.h"
#include "thimble/passes/weights_to_int8.h"

namespace thimble::compress {
namespace {

using train::ParameterSet;

Graph InType(const Graph& graph, DType dtype) {
  if (dtype == DType::kI8) return *WeightsToInt8Where(graph, [](const Node&) { return true; });
  return *WeightsByGroup(graph, {dtype, 16});
}

// Weights that no type holds exactly.
at::Tensor Trained(const ParameterSet& parameters) {
  const at::Tensor values = parameters.values().clone();
  float* v = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) v[i] += 0.1f * std::sin(static_cast<float>(i * i));
  return values;
}

class QuantizedTypes : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, QuantizedTypes,
                         testing::Values(DType::kI8, DType::kI8Group, DType::kI4Group),
                         [](const auto& type) { return std::string(DTypeName(type.param)); });

// What a step computes with is what the file of that moment would hold, and storing what was used changes no code.
TEST_P(QuantizedTypes, ComputesWithWhatIsStored) {
  const Graph graph = ExampleModel().graph;
  const Graph quantized = InType(graph, GetParam());
  const ParameterSet parameters = ParameterSet::Create(graph);
  const at::Tensor values = Trained(parameters);
  at::Tensor used = at::zeros_like(values);
  QuantizedWeights(quantized).Use(parameters, values, 0.5, used);

  const Graph from_values = *WithTypesOf(parameters.ToGraph(graph, values), quantized);
  const Graph from_used = *WithTypesOf(parameters.ToGraph(graph, used), quantized);
  size_t rounded = 0;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (size_t w = 0; w < graph.nodes[n].weights.size(); ++w) {
      const std::string& name = graph.nodes[n].weights[w].name;
      const Tensor& type = quantized.nodes[n].weights[w].tensor;
      const Tensor& stored = from_values.nodes[n].weights[w].tensor;
      const Tensor& again = from_used.nodes[n].weights[w].tensor;
      EXPECT_EQ(stored.dtype(), type.dtype()) << name;
      if (!IsQuantized(type.dtype())) continue;
      const at::Tensor of_step =
          parameters.ViewOf(used, parameters.IndexOf(n, w)).contiguous().view({-1});
      const std::vector<float> codes = stored.ToFloats();
      ASSERT_EQ(of_step.numel(), static_cast<int64_t>(codes.size()));
      EXPECT_EQ(std::memcmp(of_step.data_ptr<float>(), codes.data(), codes.size() * sizeof(float)),
                0)
          << name;
      ASSERT_EQ(again.data().size(), stored.data().size());
      EXPECT_EQ(std::memcmp(again.data().data(), stored.data().data(), stored.data().size()), 0)
          << name;
      for (size_t s = 0; s < stored.scales().size(); ++s) {
        EXPECT_FLOAT_EQ(again.scales()[s], stored.scales()[s]) << name;
      }
      ++rounded;
    }
  }
  EXPECT_EQ(rounded, 2u);  // words and query: the other linears give outputs of the graph
}

TEST_P(QuantizedTypes, LeavesBiasesAndWhatIsNotFinite) {
  const Graph graph = ExampleModel().graph;
  const Graph quantized = InType(graph, GetParam());
  const ParameterSet parameters = ParameterSet::Create(graph);
  const at::Tensor values = Trained(parameters);
  const train::Parameter& broken = *parameters.Find("query.weight");
  values.data_ptr<float>()[broken.offset + 3] = NAN;
  at::Tensor used = at::zeros_like(values);
  QuantizedWeights(quantized).Use(parameters, values, 0, used);
  for (const char* name : {"query.bias", "norm.weight", "norm.bias", "query.weight"}) {
    const train::Parameter& p = *parameters.Find(name);
    const at::Tensor a = used.narrow(0, p.offset, p.count);
    EXPECT_TRUE(a.allclose(values.narrow(0, p.offset, p.count), 0, 0, /*equal_nan=*/true)) << name;
  }
}

TEST(QuantizedTraining, RoundsTheInputsOfInt8ProductsAlone) {
  const Graph graph = ExampleModel().graph;
  Graph quantized = InType(graph, DType::kI8);
  const auto rounds = [&](const Graph& types, const std::string& name) {
    const std::vector<bool> rows = RoundedRows(graph, types);
    return static_cast<bool>(rows[static_cast<size_t>(graph.FindNode(name) - graph.nodes.data())]);
  };
  EXPECT_TRUE(rounds(quantized, "query"));
  EXPECT_FALSE(rounds(quantized, "decoder"));  // a small classifier
  EXPECT_FALSE(rounds(quantized, "words"));
  EXPECT_FALSE(rounds(InType(graph, DType::kI4Group), "query"));
  for (Node& node : quantized.nodes) {
    if (node.name == "query") node.attrs = LinearAttrs{0.25};
  }
  EXPECT_FALSE(rounds(quantized, "query")) << "by the scale of the node";
  const Graph start = FloatWeights(graph, quantized);
  EXPECT_TRUE(start.FindNode("query")->weights[0].tensor.SameAs(
      graph.FindNode("query")->weights[0].tensor));
  EXPECT_EQ(std::get<LinearAttrs>(start.FindNode("query")->attrs).input_scale, 0.25);
}

}  // namespace
}  // namespace thimble::compress
