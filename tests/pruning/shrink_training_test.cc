// A shrunk graph is trained as any other: values, dropout, distillation layer by layer.
#include <gtest/gtest.h>

#include "tests/pruning/models.h"
#include "thimble/graph/blocks.h"
#include "thimble/train/distill.h"
#include "thimble/train/executor.h"

namespace thimble::train {
namespace {

class ShrinkTraining : public testing::TestWithParam<SmallModel> {
 protected:
  const Graph graph = BuildSmall(GetParam());
};

Batch MakeBatch() {
  const SmallBatch b;
  Batch batch;
  for (size_t s = 0; s + 1 < b.offsets.size(); ++s) {
    const auto begin = static_cast<size_t>(b.offsets[s]);
    batch.Add(std::span(b.ids).subspan(begin, static_cast<size_t>(b.offsets[s + 1]) - begin));
  }
  return batch;
}

std::vector<std::vector<float>> Execute(const Graph& graph, ExecutorOptions options,
                                        std::span<const uint32_t> dropout_keys = {}) {
  const ParameterSet parameters = ParameterSet::Create(graph);
  const Result<Executor> executor = Executor::Create(graph, parameters, options);
  EXPECT_TRUE(executor.has_value()) << executor.error().message();
  const at::Tensor gradients = at::zeros_like(parameters.values());
  const ValueId wanted[] = {graph.FindOutput("last_hidden_state")->value,
                            graph.FindOutput("logits")->value};
  const auto values =
      executor->Run(MakeBatch(), wanted, {.gradients = gradients, .sequence_keys = dropout_keys});
  EXPECT_TRUE(values.has_value()) << values.error().message();
  (*values)[1].sum().backward();
  EXPECT_GT(gradients.abs().sum().item<float>(), 0);
  std::vector<std::vector<float>> floats;
  for (const at::Tensor& t : *values) {
    const at::Tensor flat = t.detach().contiguous();
    floats.emplace_back(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
  }
  return floats;
}

TEST_P(ShrinkTraining, ExecutorAgreesWithTheReference) {
  for (const std::vector<Kept>& kept : {SomeUnits(graph, 1), Nothing(graph)}) {
    const Graph shrunk = Shrunk(graph, kept);
    const auto expected = Reference(shrunk);
    EXPECT_LE(Difference(Execute(shrunk, {}), expected), 2e-5);
    EXPECT_LE(Difference(Execute(shrunk, {.plain = true}), expected), 2e-5);
  }
}

// What is added to a residual is dropped in every block, whether it has an attention or not: with nearly all dropped,
// sums are their residuals.
TEST_P(ShrinkTraining, DropoutActsBehindARemovedAttention) {
  std::vector<Kept> kept;
  for (const Structure& s : FindStructures(graph)) {
    if (s.kind == StructureKind::kHeads) kept.push_back({s.name, {}, std::nullopt});
  }
  const Graph shrunk = Shrunk(graph, kept);
  const ParameterSet parameters = ParameterSet::Create(shrunk);
  const Result<Executor> executor =
      Executor::Create(shrunk, parameters, {.plain = true, .hidden_dropout = 0.999});
  ASSERT_TRUE(executor.has_value());
  const uint32_t keys[] = {1, 2, 3};
  for (const Structure& s : FindStructures(shrunk)) {
    const ValueId y = shrunk.nodes[s.consumer].output;
    const auto add = std::ranges::find_if(shrunk.nodes, [&](const Node& node) {
      return node.op == OpKind::kAdd && (node.inputs[0] == y || node.inputs[1] == y);
    });
    const ValueId x = add->inputs[add->inputs[0] == y ? 1 : 0];
    const ValueId wanted[] = {add->output, x};
    const auto values = executor->Run(MakeBatch(), wanted, {.sequence_keys = keys});
    ASSERT_TRUE(values.has_value()) << values.error().message();
    EXPECT_GT(((*values)[0] == (*values)[1]).to(at::kFloat).mean().item<float>(), 0.9f) << s.name;
  }
}

TEST_P(ShrinkTraining, IsDistilledLayerByLayer) {
  const std::vector<Kept> kept = Nothing(graph);
  const Graph shrunk = Shrunk(graph, {kept[0]});  // the first attention is gone
  ASSERT_EQ(FindStructures(graph)[0].kind, StructureKind::kHeads);
  const Result<DistillPlan> plan =
      PlanDistillation(shrunk, graph, 1, {.logits = 1, .hidden = 1, .values = 1});
  ASSERT_TRUE(plan.has_value()) << plan.error().message();
  size_t hidden = 0, values = 0;
  for (const DistillPlan::Pair& pair : plan->pairs) {
    hidden += pair.kind == DistillPlan::Pair::Kind::kHidden;
    values += pair.kind == DistillPlan::Pair::Kind::kValues;
  }
  const size_t blocks = FindBlocks(graph)->attention.size();
  EXPECT_EQ(hidden, blocks + 1);  // the embeddings too
  EXPECT_EQ(values, blocks - GetParam().places);
}

INSTANTIATE_TEST_SUITE_P(All, ShrinkTraining, testing::ValuesIn(kSmallModels),
                         [](const auto& model) { return std::string(model.param.name); });

}  // namespace
}  // namespace thimble::train
