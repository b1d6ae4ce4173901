#include "thimble/compress/gram.h"

#include <gtest/gtest.h>

#include "thimble/compress/test_model.h"

namespace thimble::compress {
namespace {

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

size_t NodeOf(const Graph& graph, std::string_view name) {
  size_t i = 0;
  while (graph.nodes[i].name != name) ++i;
  return i;
}

std::vector<Gram> Visit(const Graph& graph, const std::vector<std::vector<size_t>>& groups,
                        const std::vector<train::TrainingExample>& examples,
                        const GramOptions& options, const ProgressFn& progress = kQuiet) {
  std::vector<Gram> grams(groups.size());
  const Status done =
      VisitGrams(graph, groups, examples, options, progress, [&](size_t group, const Gram& gram) {
        EXPECT_EQ(grams[group].rows, 0) << "visited twice";
        grams[group] = gram;
        return Status();
      });
  EXPECT_TRUE(done.has_value()) << done.error().message();
  return grams;
}

TEST(VisitGrams, GroupsAreSummed) {
  const Graph graph = train::SmallBert();
  const std::vector<train::TrainingExample> examples = train::SmallData(8);
  const size_t first = NodeOf(graph, "bert.encoder.layer.0.output"),
               second = NodeOf(graph, "bert.encoder.layer.1.output");
  const auto grams = Visit(graph, {{first, second}, {first}, {second}, {first}}, examples, {});
  EXPECT_TRUE(grams[1].sum.equal(grams[3].sum));
  EXPECT_EQ(grams[0].rows, grams[1].rows + grams[2].rows);
  EXPECT_TRUE(grams[0].sum.allclose(grams[1].sum + grams[2].sum, 1e-9));
  EXPECT_TRUE(grams[0].total.allclose(grams[1].total + grams[2].total, 1e-9));
  EXPECT_TRUE(grams[0].sum.equal(grams[0].sum.t()));
}

TEST(VisitGrams, LittleMemoryTakesSeveralRuns) {
  const Graph graph = train::SmallBert();
  const std::vector<train::TrainingExample> examples = train::SmallData(12);
  const std::vector<std::vector<size_t>> groups = {
      {NodeOf(graph, "bert.encoder.layer.0.output")},
      {NodeOf(graph, "bert.encoder.layer.1.attention_output")},
      {NodeOf(graph, "classifier")}};
  double last = 0;
  size_t steps = 0;
  Visit(graph, groups, examples, {.memory_bytes = 1}, [&](double share) {
    EXPECT_GT(share, last);
    last = share;
    ++steps;
    return Status();
  });
  EXPECT_EQ(last, 1);
  EXPECT_EQ(steps, 3u);  // one batch each
}

TEST(VisitGrams, KeepsToTheTokenBudget) {
  const Graph graph = train::SmallBert();
  const std::vector<train::TrainingExample> examples = train::SmallData(30);
  const size_t linear = NodeOf(graph, "bert.encoder.layer.0.output");
  const Gram gram = Visit(graph, {{linear}}, examples, {.max_tokens = 25})[0];
  std::vector<train::TrainingExample> used;
  size_t tokens = 0;
  while (tokens < 25) {
    used.push_back(examples[used.size()]);
    tokens += used.back().ids.size();
  }
  EXPECT_EQ(gram.rows, static_cast<int64_t>(tokens));
  EXPECT_TRUE(gram.sum.allclose(ReferenceGram(graph, linear, used), 1e-4, 1e-4));
}

TEST(VisitGrams, SaysWhatIsWrong) {
  const Graph graph = train::SmallBert();
  const std::vector<train::TrainingExample> examples = train::SmallData(4);
  const auto error = [&](const std::vector<std::vector<size_t>>& groups,
                         const ProgressFn& progress = kQuiet) {
    const Status done = VisitGrams(graph, groups, examples, {}, progress,
                                   [](size_t, const Gram&) { return Status(); });
    return done.has_value() ? "no error" : done.error().message();
  };
  const size_t linear = NodeOf(graph, "bert.encoder.layer.0.output");
  EXPECT_EQ(error({{0}}), "moments are taken of what linears read, and node 0 is none");
  EXPECT_EQ(error({{linear, NodeOf(graph, "classifier")}}),
            "classifier reads another width than others of its group");
  EXPECT_EQ(
      error({{linear}}, [](double) { return Status(Error(ErrorCode::kInterrupted, "stopped")); }),
      "stopped");
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
    // What lies below the limit is known exactly, the rest as soon as it is certain.
    EXPECT_EQ(*distance->To(graph, 1.01 * last), last);
    EXPECT_EQ(*distance->To(graph, 0.5 * last), std::numeric_limits<double>::infinity());
  }
}

}  // namespace
}  // namespace thimble::compress
