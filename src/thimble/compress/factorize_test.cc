#include "thimble/compress/factorize.h"

#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "thimble/base/random.h"
#include "thimble/compress/test_model.h"
#include "thimble/compress/torch_tensor.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/models/architecture.h"
#include "thimble/passes/passes.h"
#include "thimble/train/initializer.h"

namespace thimble::compress {
namespace {

using testing::HasSubstr;

constexpr const char* kConfigs[] = {
    R"({"model_type":"bert","vocab_size":40,"hidden_size":16,"num_hidden_layers":2,"num_attention_heads":2,
        "intermediate_size":32,"max_position_embeddings":32})",
    R"({"model_type":"mobilebert","vocab_size":40,"embedding_size":8,"hidden_size":16,"intra_bottleneck_size":16,
        "num_hidden_layers":2,"num_attention_heads":2,"intermediate_size":32,"max_position_embeddings":32})",
    R"({"model_type":"albert","vocab_size":40,"embedding_size":8,"hidden_size":16,"num_hidden_layers":2,
        "num_attention_heads":2,"intermediate_size":32,"max_position_embeddings":32})"};

Graph Build(const char* config, Task task = Task::kSingleLabel) {
  train::RandomWeights weights(5, 0.3);
  return *BuildGraph(nlohmann::json::parse(config), {.task = task, .labels = 3}, weights);
}

at::Tensor Logits(const Graph& graph) {
  const std::vector<int32_t> ids = {2, 7, 9, 4, 3, 2, 11, 3}, types(ids.size(), 0),
                             offsets = {0, 5, 8};
  std::vector<std::span<const int32_t>> inputs;
  for (const ValueId id : graph.inputs) {
    inputs.emplace_back(graph.value(id).name == kInputIds ? ids : types);
  }
  const std::string_view wanted[] = {"logits"};
  const auto values = RunReference(graph, {offsets, {}}, inputs, wanted);
  EXPECT_TRUE(values.has_value()) << values.error().message();
  return at::tensor((*values)[0].floats);
}

double Difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

Graph Factorized(const Graph& graph, const TableWidth& width, std::span<const double> counts = {}) {
  Result<TableFactorization> result = FactorizeTokenTable(graph, counts, width);
  EXPECT_TRUE(result.has_value()) << result.error().message();
  return std::move(result->graph);
}

class Table : public testing::TestWithParam<const char*> {};

TEST_P(Table, FullRankIsTheSameFunction) {
  const Graph graph = Build(GetParam());
  const int64_t width =
      graph.FindNode(FactorizeTokenTable(graph, {}, {.rank = 1})->table)->weights[0].tensor.dim(1);
  EXPECT_LT(Difference(Logits(Factorized(graph, {.rank = width})), Logits(graph)), 1e-5);
}

// What the rest of the graph sees is the table's best approximation of that rank: the one with U^T U in between.
TEST_P(Table, IsTheProjectionOfTheTable) {
  const Graph graph = Build(GetParam());
  const Result<TableFactorization> f = FactorizeTokenTable(graph, {}, {.rank = 3});
  ASSERT_TRUE(f.has_value());
  EXPECT_EQ(f->rank, 3);
  EXPECT_LT(ComputeCost(f->graph, {}).parameters, ComputeCost(graph, {}).parameters);
  Graph projected = graph;
  for (Node& node : projected.nodes) {
    if (node.name != f->table) continue;
    const at::Tensor e = ToTorch(node.weights[0].tensor).to(at::kDouble);
    const auto [u, s, vt] = at::linalg_svd(e, false);
    node.weights[0].tensor =
        FromTorch(at::mm(u.narrow(1, 0, 3) * s.narrow(0, 0, 3), vt.narrow(0, 0, 3)));
  }
  EXPECT_LT(Difference(Logits(f->graph), Logits(projected)), 1e-5);
}

// A thinner table of a thin table is what the first call would have given.
TEST_P(Table, GetsThinnerInPlace) {
  const Graph graph = Build(GetParam());
  const Graph twice = Factorized(Factorized(graph, {.rank = 6}), {.rank = 3});
  EXPECT_LT(Difference(Logits(twice), Logits(Factorized(graph, {.rank = 3}))), 1e-5);
  EXPECT_EQ(ComputeCost(twice, {}).parameters,
            ComputeCost(Factorized(graph, {.rank = 3}), {}).parameters);
}

TEST_P(Table, KeepsFloat16) {
  const Result<Graph> half = RunPass(*FindPass("weights_to_f16"), Build(GetParam()));
  ASSERT_TRUE(half.has_value());
  const Graph thin = Factorized(*half, {.rank = 3});
  for (const Node& node : thin.nodes) {
    if (node.op != OpKind::kLinear && node.op != OpKind::kEmbedding) continue;
    EXPECT_EQ(node.weights[0].tensor.dtype(), DType::kF16) << node.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, Table, testing::ValuesIn(kConfigs));

TEST(FactorizeTokenTable, FollowsWhatIsLookedUp) {
  const Graph graph = Build(kConfigs[0]);
  std::vector<double> counts(40, 0.0);
  for (const size_t id : {2, 7, 9, 4, 3, 11}) counts[id] = 1e6;
  // Six rows that are looked up are exact with rank six, whatever the other rows are.
  EXPECT_LT(Difference(Logits(Factorized(graph, {.rank = 6}, counts)), Logits(graph)), 1e-3);
  EXPECT_GT(Difference(Logits(Factorized(graph, {.rank = 6})), Logits(graph)), 1e-2);
}

TEST(FactorizeTokenTable, EnergyChoosesTheRank) {
  const Graph graph = Build(kConfigs[0]);
  int64_t last = 0;
  for (const double energy : {0.3, 0.6, 0.9, 1.0}) {
    const Result<TableFactorization> f = FactorizeTokenTable(graph, {}, {.energy = energy});
    ASSERT_TRUE(f.has_value());
    EXPECT_GE(f->energy, energy - 1e-12);
    EXPECT_GT(f->rank, last);
    last = f->rank;
  }
}

// The decoder of masked words stays tied to the table.
TEST(FactorizeTokenTable, KeepsADecoderTied) {
  const Graph graph = Build(kConfigs[0], Task::kMaskedLm);
  const Result<TableFactorization> f = FactorizeTokenTable(graph, {}, {.rank = 16});
  ASSERT_TRUE(f.has_value()) << f.error().message();
  EXPECT_LT(Difference(Logits(f->graph), Logits(graph)), 1e-4);
  const Result<TableFactorization> thin = FactorizeTokenTable(graph, {}, {.rank = 4});
  ASSERT_TRUE(thin.has_value());
  int shared = 0;
  const Tensor& table = thin->graph.FindNode(thin->table)->weights[0].tensor;
  for (const Node& node : thin->graph.nodes) {
    for (const Weight& w : node.weights) shared += w.tensor.SameAs(table);
  }
  EXPECT_EQ(shared, 2);
  const Result<TableFactorization> thinner = FactorizeTokenTable(thin->graph, {}, {.rank = 2});
  ASSERT_TRUE(thinner.has_value()) << thinner.error().message();
  EXPECT_LT(Difference(Logits(thinner->graph), Logits(Factorized(graph, {.rank = 2}))), 1e-4);
  EXPECT_EQ(thinner->graph.nodes.size(), thin->graph.nodes.size());
}

// A file holds a tied table twice, in two layouts.
TEST(FactorizeTokenTable, KeepsADecoderTiedThatWasReadFromAFile) {
  const Graph stored = Packed(Build(kConfigs[0], Task::kMaskedLm));
  const Graph thin = Factorized(stored, {.rank = 4});
  EXPECT_LT(Difference(Logits(thin),
                       Logits(Factorized(Build(kConfigs[0], Task::kMaskedLm), {.rank = 4}))),
            1e-5);
  EXPECT_EQ(ComputeCost(stored, {}).parameters - ComputeCost(thin, {}).parameters,
            40 * (16 - 4) - 2 * 4 * 16);
}

// The published halving (arXiv 2501.00042): W_Q, W_K, W_V without biases, a table and an output matrix of 1,000 words;
// 8 bytes per parameter there.
TEST(Count, IsThePublishedOneOfHalvedEmbeddings) {
  const auto parameters = [](int64_t width) {
    const auto zeros = [](int64_t rows, int64_t columns) {
      return Tensor::FromFloats({rows, columns},
                                std::vector<float>(static_cast<size_t>(rows * columns)));
    };
    Builder b;
    const ValueId x = b.Add(OpKind::kEmbedding, "words", {b.Input(kInputIds)},
                            {{"words.weight", zeros(1000, width)}});
    std::vector<ValueId> qkv;
    for (const std::string name : {"query", "key", "value"}) {
      qkv.push_back(b.Add(OpKind::kLinear, name, {x}, {{name + ".weight", zeros(width, width)}}));
    }
    const ValueId y =
        b.Add(OpKind::kAttention, "attention", qkv, {}, AttentionAttrs{.heads = width / 16});
    b.Output("logits", b.Add(OpKind::kLinear, "out", {y}, {{"out.weight", zeros(1000, width)}}));
    return ComputeCost(*std::move(b).Finish(10), {}).parameters;
  };
  EXPECT_EQ(parameters(64), 140288);
  EXPECT_EQ(parameters(32), 67072);
  EXPECT_EQ(8 * parameters(64), 1122304);
  EXPECT_EQ(8 * parameters(32), 536576);
}

TEST(FactorizeTokenTable, SaysWhatIsWrong) {
  const Graph graph = Build(kConfigs[0]);
  EXPECT_THAT(FactorizeTokenTable(graph, {}, {.rank = 17}).error().message(), HasSubstr("16 wide"));
  const Result<Graph> int8 = RunPass(*FindPass("weights_to_int8"), graph);
  ASSERT_TRUE(int8.has_value());
  EXPECT_THAT(FactorizeTokenTable(*int8, {}, {.rank = 4}).error().message(), HasSubstr("i8"));
}

// --- Linears

at::Tensor RandomMatrix(int64_t rows, int64_t columns, uint64_t seed) {
  Random random(seed);
  const at::Tensor t = at::empty({rows, columns}, at::kDouble);
  for (int64_t i = 0; i < t.numel(); ++i) t.data_ptr<double>()[i] = random.Normal();
  return t;
}

// ids -> table -> linear "dense" -> linear "head", with `weight` in dense.
Graph OneLinear(const at::Tensor& weight) {
  Builder b;
  ValueId x = b.Input(kInputIds);
  x = b.Add(OpKind::kEmbedding, "words", {x},
            {{"words.weight", FromTorch(RandomMatrix(9, weight.size(1), 1))}});
  x = b.Add(OpKind::kLinear, "dense", {x}, {{"dense.weight", FromTorch(weight)}});
  b.Output("last_hidden_state", x);
  return *std::move(b).Finish(8);
}

TEST(FactorizeLinears, IsTheBestOfItsRankForTheInputs) {
  const int64_t outputs = 24, inputs = 20;
  // Inputs that lie mostly in five directions.
  const at::Tensor x = at::mm(RandomMatrix(200, 5, 2), RandomMatrix(5, inputs, 3)) +
                       0.05 * RandomMatrix(200, inputs, 4);
  const at::Tensor w = RandomMatrix(outputs, inputs, 5).to(at::kFloat).to(at::kDouble);
  const Graph graph = OneLinear(w);
  const std::vector<size_t> linears = FactorizableLinears(graph);
  ASSERT_EQ(linears.size(), 1u);
  const Gram gram{.sum = at::mm(x.t(), x), .total = x.sum(0), .rows = 200};
  const auto f = FactorizeLinears(graph, linears, std::span(&gram, 1), {.error = 0.02});
  ASSERT_TRUE(f.has_value()) << f.error().message();
  ASSERT_EQ(f->linears.size(), 1u);
  EXPECT_EQ(f->linears[0].rank, 5);
  const at::Tensor a = ToTorch(f->graph.FindNode("dense.down")->weights[0].tensor).to(at::kDouble);
  const at::Tensor b = ToTorch(f->graph.FindNode("dense")->weights[0].tensor).to(at::kDouble);
  const at::Tensor y = at::mm(x, w.t());
  const double error = (y - at::mm(x, at::mm(b, a).t())).square().sum().item<double>();
  EXPECT_NEAR(error / y.square().sum().item<double>(), f->linears[0].error, 1e-4);
  // No matrix of that rank leaves less: Eckart and Young on the outputs themselves.
  const at::Tensor s = std::get<1>(at::linalg_svd(y, false)).square();
  EXPECT_NEAR(error, s.narrow(0, 5, s.size(0) - 5).sum().item<double>(), 1e-3 * error);
}

TEST(FactorizeLinears, LeavesWhatWouldNotGetSmaller) {
  const at::Tensor w = RandomMatrix(24, 20, 5), x = RandomMatrix(200, 20, 2);
  const Graph graph = OneLinear(w);
  const Gram gram{.sum = at::mm(x.t(), x), .total = x.sum(0), .rows = 200};
  const auto f =
      FactorizeLinears(graph, FactorizableLinears(graph), std::span(&gram, 1), {.error = 0.01});
  ASSERT_TRUE(f.has_value());
  EXPECT_TRUE(f->linears.empty());
  EXPECT_EQ(WeightsSha256(f->graph), WeightsSha256(graph));
}

// Every pair of ranks, tried.
TEST(RanksWithin, LosesNoMoreThanAnyChoiceOfAsFewParameters) {
  Random random(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<LinearChoice> linears(2);
    for (LinearChoice& l : linears) {
      l.outputs = 4 + static_cast<int64_t>(random.Uniform() * 9);
      l.inputs = 4 + static_cast<int64_t>(random.Uniform() * 9);
      double sum = 0;
      for (int64_t i = 0; i < std::min(l.outputs, l.inputs); ++i) {
        l.energy.push_back(random.Uniform());
        sum += l.energy.back();
      }
      std::sort(l.energy.rbegin(), l.energy.rend());
      for (double& e : l.energy) e /= sum;
    }
    const int64_t all = linears[0].Parameters(0) + linears[1].Parameters(0);
    const int64_t budget = all * (3 + round % 7) / 10;
    const auto ranks = RanksWithin(linears, budget);
    const int64_t least = linears[0].Parameters(1) + linears[1].Parameters(1);
    ASSERT_EQ(ranks.has_value(), least <= budget) << round;
    if (!ranks) continue;
    const auto parameters = [&](int64_t i, int64_t j) {
      return linears[0].Parameters(i) + linears[1].Parameters(j);
    };
    const int64_t used = parameters((*ranks)[0], (*ranks)[1]);
    EXPECT_LE(used, budget);
    const double error = linears[0].Error((*ranks)[0]) + linears[1].Error((*ranks)[1]);
    for (size_t i = 0; i <= linears[0].energy.size(); ++i) {
      for (size_t j = 0; j <= linears[1].energy.size(); ++j) {
        if (parameters(static_cast<int64_t>(i), static_cast<int64_t>(j)) > used) continue;
        EXPECT_LE(error, linears[0].Error(static_cast<int64_t>(i)) +
                             linears[1].Error(static_cast<int64_t>(j)) + 1e-12)
            << round;
      }
    }
  }
}

TEST(FactorizeLinears, MeetsAShareAndIsDoneOnce) {
  const at::Tensor w = RandomMatrix(24, 20, 5), x = RandomMatrix(200, 20, 2);
  const Graph graph = OneLinear(w);
  const Gram gram{.sum = at::mm(x.t(), x), .total = x.sum(0), .rows = 200};
  const auto f =
      FactorizeLinears(graph, FactorizableLinears(graph), std::span(&gram, 1), {.share = 0.5});
  ASSERT_TRUE(f.has_value()) << f.error().message();
  EXPECT_EQ(f->parameters_before, 480);
  EXPECT_EQ(f->linears[0].rank, 5);  // 240 / 44
  EXPECT_EQ(f->parameters, 220);
  EXPECT_TRUE(FactorizableLinears(f->graph).empty());
  EXPECT_THAT(
      FactorizeLinears(graph, FactorizableLinears(graph), std::span(&gram, 1), {.share = 0.05})
          .error()
          .message(),
      HasSubstr("rank 1 everywhere has 44"));
}

}  // namespace
}  // namespace thimble::compress
