#include "thimble/compress/gram.h"

#include <gtest/gtest.h>

#include "thimble/formats/thimble/example_model.h"
#include "thimble/train/test_models.h"

namespace thimble::compress {
namespace {

Model SmallModel() {
  Model model = ExampleModel();
  model.graph = train::SmallBert();
  model.task = Task::kSingleLabel;
  model.labels = {"a", "b", "c"};
  model.thresholds.clear();
  return model;
}

// By the plain references, one text after another.
at::Tensor ReferenceGram(const Graph& graph, size_t node,
                         const std::vector<train::TrainingExample>& examples) {
  Graph copy = graph;
  copy.outputs = {{"x", graph.nodes[node].inputs[0]}};
  const int64_t width = graph.value(graph.nodes[node].inputs[0]).type.width;
  at::Tensor sum = at::zeros({width, width}, at::kDouble);
  for (const train::TrainingExample& e : examples) {
    const std::vector<int32_t> offsets = {0, static_cast<int32_t>(e.ids.size())};
    const std::span<const int32_t> inputs[] = {e.ids, e.type_ids};
    const std::string_view wanted[] = {"x"};
    const auto values = RunReference(copy, {offsets, {}}, inputs, wanted);
    EXPECT_TRUE(values.has_value());
    const at::Tensor x = at::tensor((*values)[0].floats).view({-1, width}).to(at::kDouble);
    sum += at::mm(x.t(), x);
  }
  return sum;
}

TEST(InputGrams, AreTheSumsOverAllRows) {
  const Model model = SmallModel();
  const std::vector<train::TrainingExample> examples = train::SmallData(20);
  std::vector<size_t> linears;
  for (size_t i = 0; i < model.graph.nodes.size(); ++i) {
    if (model.graph.nodes[i].op == OpKind::kLinear) linears.push_back(i);
  }
  // In one go, and with memory for one sum at a time.
  for (const size_t memory : {size_t{1} << 30, size_t{1}}) {
    const auto grams = InputGrams(model, linears, examples, {.threads = 2, .memory_bytes = memory},
                                  [](double) { return Status(); });
    ASSERT_TRUE(grams.has_value()) << grams.error().message();
    for (size_t i = 0; i < linears.size(); ++i) {
      const at::Tensor expected = ReferenceGram(model.graph, linears[i], examples);
      EXPECT_LT(((*grams)[i].sum - expected).abs().max().item<double>(),
                1e-5 * expected.abs().max().item<double>())
          << model.graph.nodes[linears[i]].name;
      EXPECT_GT((*grams)[i].rows, 0);
    }
  }
}

TEST(OutputDistance, IsZeroForTheModelAndGrowsWithTheChange) {
  const Model model = SmallModel();
  const std::vector<train::TrainingExample> examples = train::SmallData(40);
  const Result<OutputDistance> distance = OutputDistance::Create(model, examples, 1);
  ASSERT_TRUE(distance.has_value());
  EXPECT_NEAR(*distance->To(model.graph), 0, 1e-9);
  double last = 0;
  for (const float factor : {1.2f, 1.6f, 2.5f}) {
    Graph graph = model.graph;
    Tensor& weight = graph.nodes.back().weights[0].tensor;
    std::vector<float> values = weight.ToFloats();
    for (float& v : values) v *= factor;
    weight = Tensor::FromFloats(weight.shape(), values);
    const Result<double> value = distance->To(graph);
    ASSERT_TRUE(value.has_value());
    EXPECT_GT(*value, last);
    last = *value;
  }
}

}  // namespace
}  // namespace thimble::compress
