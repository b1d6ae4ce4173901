#include "thimble/train/executor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "thimble/passes/lora.h"
#include "thimble/runtime/test_graphs.h"
#include "thimble/train/kernels/kernels.h"

namespace thimble::train {
namespace {

// Three sequences of different lengths, one token of the second masked, all of the third.
Batch SomeBatch(bool masked) {
  Batch batch;
  const std::vector<int32_t> a{1, 7, 30, 2}, b{3, 8, 9, 41, 5, 6, 2}, c{11};
  batch.Add(a);
  batch.Add(b, std::vector<int32_t>{0, 0, 0, 1, 1, 1, 1},
            masked ? std::vector<uint8_t>{1, 1, 0, 1, 1, 1, 1} : std::vector<uint8_t>());
  batch.Add(c, {}, masked ? std::vector<uint8_t>{0} : std::vector<uint8_t>());
  return batch;
}

ValueId Output(const Graph& graph, std::string_view name) { return graph.FindOutput(name)->value; }

std::vector<float> Values(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().contiguous().view({-1});
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

// Largest difference as a share of the largest value.
double Difference(const at::Tensor& got, const at::Tensor& want) {
  const double scale = std::max(want.abs().max().item<double>(), 1e-6);
  return (got - want).abs().max().item<double>() / scale;
}

// Fixed weights, so that every output has a gradient of its own.
at::Tensor SomeLoss(const std::vector<at::Tensor>& values) {
  at::Tensor loss = at::zeros({});
  for (const at::Tensor& value : values) {
    const at::Tensor weights = at::sin(at::arange(value.numel(), at::kFloat)).view(value.sizes());
    loss = loss + (value * weights).sum();
  }
  return loss;
}

struct Outcome {
  std::vector<at::Tensor> values;
  at::Tensor gradients;
};

constexpr std::string_view kOutputs[] = {"last_hidden_state", "logits", "embedding"};

Outcome RunOnce(const Graph& graph, const ParameterSet& parameters, const Batch& batch,
                ExecutorOptions options, bool dropout) {
  const Result<Executor> executor = Executor::Create(graph, parameters, options);
  EXPECT_TRUE(executor.has_value());
  std::vector<ValueId> wanted;
  for (const std::string_view name : kOutputs) wanted.push_back(Output(graph, name));
  Outcome outcome;
  outcome.gradients = at::zeros_like(parameters.values());
  const std::vector<uint32_t> keys{5, 6, 7};
  RunOptions run{.gradients = outcome.gradients, .step_key = 3};
  if (dropout) run.sequence_keys = keys;
  auto values = executor->Run(batch, wanted, run);
  EXPECT_TRUE(values.has_value());
  outcome.values = *std::move(values);
  SomeLoss(outcome.values).backward();
  return outcome;
}

// Both sum the same products in another order: of k terms of size 1 in float32, about k * 2^-24; the graph is
// 20 steps deep, and no sum in it has more than 100 terms.
constexpr double kTolerance = 20 * 100 / 16777216.0;

class Executors : public testing::TestWithParam<bool> {};

TEST_P(Executors, AgreeWithTheReference) {
  const Graph graph = TestGraph().Encoder();
  const Batch batch = SomeBatch(GetParam());
  const std::span<const int32_t> inputs[] = {batch.ids(), batch.type_ids()};
  const auto reference = RunReference(graph, batch.packed(), inputs, kOutputs);
  ASSERT_TRUE(reference.has_value());
  const ParameterSet parameters = ParameterSet::Create(graph);
  for (const bool plain : {true, false}) {
    const Outcome outcome = RunOnce(graph, parameters, batch, {.plain = plain}, false);
    for (size_t i = 0; i < std::size(kOutputs); ++i) {
      const auto& want = (*reference)[i].floats;
      ASSERT_EQ(outcome.values[i].numel(), static_cast<int64_t>(want.size()));
      const at::Tensor expected =
          at::from_blob(const_cast<float*>(want.data()), outcome.values[i].sizes(), at::kFloat);
      EXPECT_LE(Difference(outcome.values[i].detach(), expected), kTolerance)
          << kOutputs[i] << " plain=" << plain;
    }
  }
}

TEST_P(Executors, GiveTheSameGradientsFastAndPlain) {
  const Graph graph = TestGraph().Encoder();
  const ParameterSet parameters = ParameterSet::Create(graph);
  for (const bool dropout : {false, true}) {
    ExecutorOptions options{.plain = true, .hidden_dropout = 0.2, .attention_dropout = 0.3};
    const Outcome plain = RunOnce(graph, parameters, SomeBatch(GetParam()), options, dropout);
    options.plain = false;
    const Outcome fast = RunOnce(graph, parameters, SomeBatch(GetParam()), options, dropout);
    for (size_t i = 0; i < plain.values.size(); ++i) {
      EXPECT_LE(Difference(fast.values[i], plain.values[i]), kTolerance) << kOutputs[i];
    }
    for (size_t p = 0; p < parameters.parameters().size(); ++p) {
      EXPECT_LE(
          Difference(parameters.ViewOf(fast.gradients, p), parameters.ViewOf(plain.gradients, p)),
          10 * kTolerance)
          << parameters.parameters()[p].name << " dropout=" << dropout;
    }
  }
}

// Operands have 8 bits, so that a product is off by at most 2^-8 of itself, and the graph is 20 steps deep. Where the other
// operations differ in a last bit, an operand may be rounded to its other neighbour: no closer bound holds for fast and plain.
constexpr double kRoundedTolerance = 20 / 256.0;

TEST_P(Executors, RoundOperandsOfProductsToBFloat16) {
  const Graph graph = TestGraph().Encoder();
  const ParameterSet parameters = ParameterSet::Create(graph);
  const Batch batch = SomeBatch(GetParam());
  const Outcome exact = RunOnce(graph, parameters, batch, {}, false);
  for (const bool plain : {true, false}) {
    const Outcome rounded = RunOnce(graph, parameters, batch,
                                    {.plain = plain, .precision = Precision::kBFloat16}, false);
    for (size_t i = 0; i < exact.values.size(); ++i) {
      EXPECT_EQ(rounded.values[i].scalar_type(), at::kFloat);
      EXPECT_LE(Difference(rounded.values[i], exact.values[i]), kRoundedTolerance) << kOutputs[i];
      EXPECT_GE(Difference(rounded.values[i], exact.values[i]), kTolerance) << kOutputs[i];
    }
    EXPECT_LE(Difference(rounded.gradients, exact.gradients), kRoundedTolerance) << plain;
    EXPECT_GE(Difference(rounded.gradients, exact.gradients), kTolerance) << plain;
  }
}

TEST(Precision, IsMeasuredOverTheLinearsOfAGraph) {
  const Result<PrecisionTimes> times = MeasurePrecisions(TestGraph().Encoder(), at::kCPU, 8);
  ASSERT_TRUE(times.has_value()) << times.error().message();
  EXPECT_GT(times->float32, 0);
  EXPECT_GT(times->bfloat16, 0);
}

TEST_P(Executors, HaveTheGradientsOfTheReference) {
  const Graph graph = TestGraph().Encoder();
  ParameterSet parameters = ParameterSet::Create(graph);
  const Batch batch = SomeBatch(GetParam());
  const Outcome outcome = RunOnce(graph, parameters, batch, {}, false);
  // The loss by the plain references at the weights as they are.
  const auto loss_at = [&] {
    const Graph changed = parameters.ToGraph(graph);
    const std::span<const int32_t> inputs[] = {batch.ids(), batch.type_ids()};
    const auto values = RunReference(changed, batch.packed(), inputs, kOutputs);
    double loss = 0;
    for (const ReferenceValue& value : *values) {
      for (size_t i = 0; i < value.floats.size(); ++i) {
        loss += std::sin(static_cast<double>(i)) * static_cast<double>(value.floats[i]);
      }
    }
    return loss;
  };
  const double largest = outcome.gradients.abs().max().item<double>();
  std::mt19937 random(7);
  for (const Parameter& p : std::as_const(parameters).parameters()) {
    const int64_t at = p.offset + static_cast<int64_t>(random() % static_cast<uint32_t>(p.count));
    float* weight = parameters.values().data_ptr<float>() + at;
    // The error of a central difference falls with the square of its step, that of float32 values grows with
    // its inverse: at 2^-7 either is about 1e-4 of the largest gradient here.
    constexpr float kStep = 0x1p-7f;
    const float kept = *weight;
    *weight = kept + kStep;
    const double up = loss_at();
    *weight = kept - kStep;
    const double down = loss_at();
    *weight = kept;
    const double expected = (up - down) / (2 * static_cast<double>(kStep));
    const double got = outcome.gradients[at].item<double>();
    EXPECT_NEAR(got, expected, 2e-3 * std::max(largest, std::abs(expected))) << p.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Masks, Executors, testing::Bool());

TEST(Executor, RepeatsBitForBit) {
  const Graph graph = TestGraph().Encoder();
  const ParameterSet parameters = ParameterSet::Create(graph);
  const ExecutorOptions options{.hidden_dropout = 0.1, .attention_dropout = 0.1};
  const Outcome a = RunOnce(graph, parameters, SomeBatch(false), options, true);
  const Outcome b = RunOnce(graph, parameters, SomeBatch(false), options, true);
  EXPECT_EQ(Values(a.gradients), Values(b.gradients));
}

TEST(Executor, DropsTheSameForAnExampleInAnyBatch) {
  const Graph graph = TestGraph().Encoder();
  const ParameterSet parameters = ParameterSet::Create(graph);
  const Result<Executor> executor =
      Executor::Create(graph, parameters, {.hidden_dropout = 0.3, .attention_dropout = 0.3});
  const ValueId wanted[] = {Output(graph, "last_hidden_state")};
  const std::vector<int32_t> a{4, 5, 6}, b{7, 8, 9, 10};
  Batch both, alone;
  both.Add(b), both.Add(a);
  alone.Add(a);
  const uint32_t keys_both[] = {1, 2}, keys_alone[] = {2};
  const auto together = executor->Run(both, wanted, {.step_key = 9, .sequence_keys = keys_both});
  const auto apart = executor->Run(alone, wanted, {.step_key = 9, .sequence_keys = keys_alone});
  const auto other = executor->Run(alone, wanted, {.step_key = 10, .sequence_keys = keys_alone});
  EXPECT_LE(Difference((*together)[0].slice(0, 4, 7), (*apart)[0]), kTolerance);
  EXPECT_GT(Difference((*other)[0], (*apart)[0]), 0.01);
}

TEST(Executor, DropsALinearWithItsAdapterAsOne) {
  Graph graph = *AddLora(TestGraph().Encoder(), {.rank = 4, .targets = {"all"}});
  const LoraBranch branch = [&] {
    for (const LoraBranch& b : FindLora(graph)) {
      if (graph.nodes[b.linear].name == "layer1.attention_out") return b;
    }
    return LoraBranch{};
  }();
  Tensor& up = graph.nodes[branch.up].weights[0].tensor;
  up = Tensor::FromFloats(up.shape(), TestGraph(DType::kF32, 9).Random(up.elements(), 0.5f));
  const ParameterSet parameters = ParameterSet::Create(graph);
  for (const bool plain : {true, false}) {
    const Result<Executor> executor =
        Executor::Create(graph, parameters, {.plain = plain, .hidden_dropout = 0.5});
    const Node& residual = *graph.FindNode("layer1.residual");
    const ValueId wanted[] = {graph.nodes[branch.linear].output, graph.nodes[branch.up].output,
                              graph.nodes[branch.sum].output, residual.inputs[1], residual.output};
    ASSERT_EQ(residual.inputs[0], wanted[2]);
    const uint32_t keys[] = {1, 2, 3};
    const auto run =
        executor->Run(SomeBatch(false), wanted, {.step_key = 9, .sequence_keys = keys});
    const std::vector<at::Tensor>& v = *run;
    EXPECT_EQ(Values(v[2]), Values(v[0] + v[1])) << "the sum is whole";
    const at::Tensor kept = (v[4] - v[3]).abs() > 0;
    const auto share = kept.to(at::kFloat).mean().item<double>();
    EXPECT_NEAR(share, 0.5, 0.15) << "half of it is dropped on its way into the residual";
    EXPECT_LE(Difference((v[4] - v[3]).masked_select(kept), 2 * v[2].masked_select(kept)),
              kTolerance);
  }
}

TEST(Executor, PutsTheSameDropoutIntoAGraphWithAdapters) {
  // Everything of the embeddings is dropped or doubled, whatever stands between them and the first attention.
  const Graph graph = *AddLora(TestGraph().Encoder(), {.rank = 4, .targets = {"all"}});
  const ParameterSet parameters = ParameterSet::Create(graph);
  const Result<Executor> executor = Executor::Create(graph, parameters, {.hidden_dropout = 0.5});
  const ValueId wanted[] = {graph.FindNode("embedding_norm")->output,
                            graph.FindNode("widen.lora")->output};
  const uint32_t keys[] = {1, 2, 3};
  const auto dropped =
      executor->Run(SomeBatch(false), wanted, {.step_key = 9, .sequence_keys = keys});
  const auto whole = executor->Run(SomeBatch(false), wanted);
  EXPECT_NEAR(((*dropped)[0] == 0).to(at::kFloat).mean().item<double>(), 0.5, 0.1);
  EXPECT_EQ(Values((*dropped)[1]), Values((*whole)[1]));
}

TEST(Executor, LeavesFrozenWeightsAlone) {
  const Graph graph = TestGraph().Encoder();
  const auto classifier = [](std::string_view name) { return name.starts_with("classifier"); };
  const ParameterSet some = ParameterSet::Create(graph, {.trainable = classifier});
  const ParameterSet all = ParameterSet::Create(graph);
  EXPECT_LT(some.values().numel(), all.values().numel() / 10);
  const Outcome few = RunOnce(graph, some, SomeBatch(false), {}, false);
  const Outcome many = RunOnce(graph, all, SomeBatch(false), {}, false);
  for (size_t p = 0; p < some.parameters().size(); ++p) {
    if (!some.parameters()[p].trainable) continue;
    EXPECT_EQ(Values(some.ViewOf(few.gradients, p)), Values(all.ViewOf(many.gradients, p)));
  }
}

TEST(Executor, AddsToGradients) {
  const Graph graph = TestGraph().Encoder();
  const ParameterSet parameters = ParameterSet::Create(graph);
  const Result<Executor> executor = Executor::Create(graph, parameters);
  const ValueId wanted[] = {Output(graph, "logits")};
  const at::Tensor once = at::zeros_like(parameters.values()), twice = once.clone();
  SomeLoss(*executor->Run(SomeBatch(false), wanted, {.gradients = once})).backward();
  for (int i = 0; i < 2; ++i) {
    SomeLoss(*executor->Run(SomeBatch(false), wanted, {.gradients = twice})).backward();
  }
  EXPECT_LE(Difference(twice, 2 * once), 1e-5);
}

// A head per token, as masked language models have it.
Graph TokenHead() {
  TestGraph t;
  Builder b;
  const ValueId ids = b.Input(kInputIds);
  ValueId x = b.Add(OpKind::kEmbedding, "words", {ids}, {t.Table("words", 50, 24)});
  x = t.Norm(b, OpKind::kLayerNorm, "norm", x);
  b.Output("last_hidden_state", x);
  x = t.Linear(b, "transform", x, 24);
  x = b.Add(OpKind::kActivation, "act", {x}, {}, ActivationAttrs{Activation::kGelu});
  b.Output("logits", t.Linear(b, "decoder", x, 50));
  return *std::move(b).Finish(64);
}

TEST(Executor, ComputesLogitsForSomeRowsOnly) {
  const Graph graph = TokenHead();
  const ParameterSet parameters = ParameterSet::Create(graph);
  const Result<Executor> executor = Executor::Create(graph, parameters);
  const ValueId wanted[] = {Output(graph, "logits"), Output(graph, "last_hidden_state")};
  const int64_t rows[] = {5, 2};
  const auto some = executor->Run(SomeBatch(false), wanted, {.logit_rows = rows});
  const auto all = executor->Run(SomeBatch(false), wanted);
  ASSERT_EQ((*some)[0].size(0), 2);
  EXPECT_LE(Difference((*some)[0][0], (*all)[0][5]), 1e-6);
  EXPECT_LE(Difference((*some)[0][1], (*all)[0][2]), 1e-6);
  EXPECT_EQ((*some)[1].size(0), 12);
}

TEST(Executor, NamesAnIdOutsideTheTable) {
  const Graph graph = TestGraph().Encoder();
  const ParameterSet parameters = ParameterSet::Create(graph);
  const Result<Executor> executor = Executor::Create(graph, parameters);
  const ValueId wanted[] = {Output(graph, "logits")};
  Batch batch;
  batch.Add(std::vector<int32_t>{1, 50});
  const auto values = executor->Run(batch, wanted);
  ASSERT_FALSE(values.has_value());
  EXPECT_EQ(values.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(values.error().message().find("id 50"), std::string::npos);
}

TEST(ParameterSet, LeavesFrozenWeightsAsTheyAreStored) {
  const Graph graph = TestGraph(DType::kI8).Encoder();
  const auto classifier = [](std::string_view name) { return name.starts_with("classifier"); };
  ParameterSet parameters = ParameterSet::Create(graph, {.trainable = classifier});
  parameters.values().add_(1);
  const Graph trained = parameters.ToGraph(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (size_t w = 0; w < graph.nodes[n].weights.size(); ++w) {
      const Weight& weight = graph.nodes[n].weights[w];
      const Tensor& after = trained.nodes[n].weights[w].tensor;
      EXPECT_EQ(after.SameAs(weight.tensor), !classifier(weight.name)) << weight.name;
      EXPECT_TRUE(!classifier(weight.name) || after.dtype() == DType::kF32) << weight.name;
    }
  }
}

TEST(ParameterSet, KeepsTiesAndGivesTheWeightsBack) {
  const Tensor table = Tensor::FromFloats({3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6});
  Builder b;
  const ValueId ids = b.Input(kInputIds);
  const ValueId x = b.Add(OpKind::kEmbedding, "words", {ids}, {{"words.weight", table}});
  b.Output("last_hidden_state", x);
  b.Output("logits", b.Add(OpKind::kLinear, "decoder", {x}, {{"words.weight", table}}));
  const Graph graph = *std::move(b).Finish(8);
  ParameterSet parameters = ParameterSet::Create(graph);
  ASSERT_EQ(parameters.parameters().size(), 1u);
  parameters.values().mul_(2);
  const Graph doubled = parameters.ToGraph(graph);
  EXPECT_EQ(doubled.nodes[0].weights[0].tensor.ToFloats(),
            (std::vector<float>{2, 4, 6, 8, 10, 12}));
  EXPECT_TRUE(doubled.nodes[0].weights[0].tensor.SameAs(doubled.nodes[1].weights[0].tensor));
}

}  // namespace
}  // namespace thimble::train
