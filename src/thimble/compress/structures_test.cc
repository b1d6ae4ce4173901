// Structures and Shrink on every architecture: what is cut is really smaller, and computes what the same model with zeros
// in place of the units computes.
#include "thimble/passes/structures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "thimble/formats/thimble/example_model.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/graph/blocks.h"
#include "thimble/models/architecture.h"
#include "thimble/passes/lora.h"
#include "thimble/passes/passes.h"
#include "thimble/passes/shrink.h"
#include "thimble/runtime/session.h"
#include "thimble/train/executor.h"
#include "thimble/train/initializer.h"

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Case {
  const char* name;
  const char* config;
  size_t structures;
};

constexpr const char* kSizes =
    R"("vocab_size":30,"hidden_size":16,"num_hidden_layers":2,"num_attention_heads":4,"intermediate_size":24,
       "max_position_embeddings":16)";

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

class Architectures : public testing::TestWithParam<Case> {
 protected:
  static nlohmann::json Config() {
    nlohmann::json config = nlohmann::json::parse("{" + std::string(kSizes) + "}");
    config.update(nlohmann::json::parse(GetParam().config));
    return config;
  }
  static Graph Build() {
    train::RandomWeights weights(3, 0.4);
    return *BuildGraph(Config(), {.task = Task::kSingleLabel, .labels = 3}, weights);
  }
};

std::vector<float> Logits(const Graph& graph) {
  const std::vector<int32_t> ids = {2, 7, 9, 4, 3, 2, 11, 3}, types(ids.size(), 0);
  const std::vector<int32_t> offsets = {0, 5, 8};
  std::vector<std::span<const int32_t>> inputs;
  for (const ValueId id : graph.inputs) {
    inputs.emplace_back(graph.value(id).name == kInputIds ? ids : types);
  }
  const std::string_view wanted[] = {"logits"};
  const auto values = RunReference(graph, {offsets, {}}, inputs, wanted);
  EXPECT_TRUE(values.has_value()) << values.error().message();
  return values->front().floats;
}

void ExpectNear(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-6 * (1 + std::abs(b[i])));
}

// The graph with zeros in the consumers' columns of the units that go.
Graph Masked(Graph graph, const std::vector<Structure>& structures, const std::map<std::string, std::vector<int64_t>>& kept) {
  for (const Structure& s : structures) {
    const auto k = kept.find(s.name);
    if (k == kept.end()) continue;
    Tensor& weight = graph.nodes[s.consumer].weights[0].tensor;
    std::vector<float> values = weight.ToFloats();
    const auto columns = static_cast<size_t>(weight.dim(1));
    for (size_t i = 0; i < values.size(); ++i) {
      const auto unit = static_cast<int64_t>(i % columns) / s.unit_width;
      if (std::find(k->second.begin(), k->second.end(), unit) == k->second.end()) values[i] = 0;
    }
    weight = Tensor::FromFloats(weight.shape(), values);
  }
  return graph;
}

std::vector<Kept> AsKept(const std::map<std::string, std::vector<int64_t>>& kept) {
  std::vector<Kept> list;
  for (const auto& [name, units] : kept) list.push_back({name, units, {}});
  return list;
}

Graph MustShrink(const Graph& graph, const std::map<std::string, std::vector<int64_t>>& kept) {
  Result<Graph> result = Shrink(graph, AsKept(kept));
  EXPECT_TRUE(result.has_value()) << result.error().message();
  return *std::move(result);
}

TEST_P(Architectures, HaveTheirStructures) {
  const Graph graph = Build();
  const std::vector<Structure> structures = FindStructures(graph);
  EXPECT_EQ(structures.size(), GetParam().structures);
  for (const Structure& s : structures) {
    EXPECT_TRUE(s.residual.has_value()) << s.name;
    EXPECT_EQ(s.units, s.kind == StructureKind::kHeads ? 4 : 24) << s.name;
    EXPECT_EQ(graph.nodes[s.consumer].weights[0].tensor.dim(1), s.units * s.unit_width) << s.name;
  }
}

TEST_P(Architectures, ShrunkIsMasked) {
  const Graph graph = Build();
  const std::vector<Structure> structures = FindStructures(graph);
  std::map<std::string, std::vector<int64_t>> kept;
  for (const Structure& s : structures) {
    kept[s.name] = s.kind == StructureKind::kHeads ? std::vector<int64_t>{1, 3} : std::vector<int64_t>{0, 2, 3, 11, 23};
  }
  const Graph shrunk = MustShrink(graph, kept);
  ExpectNear(Logits(shrunk), Logits(Masked(graph, structures, kept)));
  if (structures.empty()) return;
  EXPECT_LT(ComputeCost(shrunk, {}).parameters, ComputeCost(graph, {}).parameters);

  // Again, from what is left: the same structures by the same names.
  const std::vector<Structure> left = FindStructures(shrunk);
  ASSERT_EQ(left.size(), structures.size());
  std::map<std::string, std::vector<int64_t>> again, at_once;
  for (size_t i = 0; i < left.size(); ++i) {
    EXPECT_EQ(left[i].name, structures[i].name);
    again[left[i].name] = {1};
    at_once[left[i].name] = {kept[left[i].name][1]};
  }
  ExpectNear(Logits(MustShrink(shrunk, again)), Logits(MustShrink(graph, at_once)));
}

TEST_P(Architectures, AllUnitsIsTheSameGraph) {
  const Graph graph = Build();
  std::map<std::string, std::vector<int64_t>> kept;
  for (const Structure& s : FindStructures(graph)) {
    for (int64_t u = 0; u < s.units; ++u) kept[s.name].push_back(u);
  }
  const Graph same = MustShrink(graph, kept);
  ASSERT_EQ(same.nodes.size(), graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) EXPECT_EQ(same.nodes[i].name, graph.nodes[i].name);
  EXPECT_EQ(WeightsSha256(same), WeightsSha256(graph));
}

TEST_P(Architectures, NothingLeftOfTheSubLayersIsTheirBiases) {
  const Graph graph = Build();
  const std::vector<Structure> structures = FindStructures(graph);
  std::map<std::string, std::vector<int64_t>> kept;
  for (const Structure& s : structures) kept[s.name] = {};
  const Graph shrunk = MustShrink(graph, kept);
  ExpectNear(Logits(shrunk), Logits(Masked(graph, structures, kept)));
  EXPECT_TRUE(FindStructures(shrunk).empty() || structures.empty());
}

// What pruned graphs look like is executed everywhere: one layer without heads, another without columns.
TEST_P(Architectures, RuntimeAndTrainingRunWhatIsLeft) {
  const Graph graph = Build();
  const std::vector<Structure> structures = FindStructures(graph);
  std::map<std::string, std::vector<int64_t>> kept;
  for (const Structure& s : structures) {
    const bool heads = s.kind == StructureKind::kHeads;
    if (kept.empty() && heads) {
      kept[s.name] = {};
    } else if (!heads && kept.size() == structures.size() - 1) {
      kept[s.name] = {};
    } else {
      kept[s.name] = {0, 3};
    }
  }
  Model model = ExampleModel();
  model.task = Task::kSingleLabel;
  model.labels = {"a", "b", "c"};
  model.thresholds.clear();
  model.graph = MustShrink(graph, kept);
  const std::vector<float> expected = Logits(model.graph);
  Batch batch;
  const std::vector<int32_t> first = {2, 7, 9, 4, 3}, second = {2, 11, 3};
  batch.Add(first);
  batch.Add(second);

  const Result<Model> packed = Packed(model);
  ASSERT_TRUE(packed.has_value()) << packed.error().message();
  Result<Session> session = Session::Create(packed->graph, {.outputs = {"logits"}});
  ASSERT_TRUE(session.has_value()) << session.error().message();
  ASSERT_TRUE(session->Run(batch).has_value());
  const auto parameters = train::ParameterSet::Create(model.graph);
  const auto executor = train::Executor::Create(model.graph, parameters);
  ASSERT_TRUE(executor.has_value());
  const ValueId logits = model.graph.FindOutput("logits")->value;
  const auto values = executor->Run(batch, std::span(&logits, 1));
  ASSERT_TRUE(values.has_value());
  for (size_t r = 0; r < 2; ++r) {
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(session->output(0).row(r)[i], expected[3 * r + i], 1e-4);
      EXPECT_NEAR((*values)[0].data_ptr<float>()[3 * r + i], expected[3 * r + i], 1e-4);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Architectures,
    testing::Values(
        Case{"bert", R"({"model_type":"bert"})", 4},
        Case{"distilbert",
             R"({"model_type":"distilbert","dim":16,"hidden_dim":24,"n_heads":4,"n_layers":2})", 4},
        Case{"roberta", R"({"model_type":"roberta","type_vocab_size":1})", 4},
        Case{"albert", R"({"model_type":"albert","embedding_size":8})", 0},
        Case{"mobilebert",
             R"({"model_type":"mobilebert","embedding_size":8,"intra_bottleneck_size":16,"num_feedforward_networks":3})",
             8},
        Case{"mobilebert_tiny",
             R"({"model_type":"mobilebert","embedding_size":8,"intra_bottleneck_size":16,"num_feedforward_networks":2,
                 "use_bottleneck_attention":true,"key_query_shared_bottleneck":false,"normalization_type":"layer_norm"})",
             6}),
    [](const auto& c) { return c.param.name; });

Graph SmallBert() {
  nlohmann::json config = nlohmann::json::parse("{" + std::string(kSizes) + "}");
  config["model_type"] = "bert";
  train::RandomWeights weights(3, 0.4);
  return *BuildGraph(config, {.task = Task::kSingleLabel, .labels = 3}, weights);
}

std::string ErrorOf(const Graph& graph, const Kept& kept) {
  const Result<Graph> result = Shrink(graph, std::span(&kept, 1));
  return result.has_value() ? "no error" : result.error().message();
}

TEST(Structures, OnlyTheBlockIsFound) {
  // Not the pooler, whose rows are sequences, though it too is a linear, an activation and a linear.
  for (const Structure& s : FindStructures(SmallBert())) EXPECT_THAT(s.name, HasSubstr("layer"));
}

TEST(Structures, AnAdapterBesideALinearKeepsItWhole) {
  const Result<Graph> adapted = AddLora(SmallBert(), {.rank = 2, .targets = {"query"}});
  ASSERT_TRUE(adapted.has_value());
  for (const Structure& s : FindStructures(*adapted)) EXPECT_EQ(s.kind, StructureKind::kColumns);
}

TEST(Shrink, ANewConsumerWeightReplacesTheOld) {
  const Graph graph = SmallBert();
  const Structure s = FindStructures(graph)[1];
  const std::vector<float> values(16 * 2, 0.25f);
  const Kept kept{s.name, {4, 9}, Tensor::FromFloats({16, 2}, values)};
  const Result<Graph> shrunk = Shrink(graph, std::span(&kept, 1));
  ASSERT_TRUE(shrunk.has_value());
  const Structure after = FindStructures(*shrunk)[1];
  EXPECT_EQ(after.units, 2);
  EXPECT_EQ(shrunk->nodes[after.consumer].weights[0].tensor.ToFloats(), values);
}

TEST(Shrink, BlocksAreStillFound) {
  const Graph graph = SmallBert();
  const Kept kept{FindStructures(graph)[0].name, {}, {}};
  const Result<Graph> shrunk = Shrink(graph, std::span(&kept, 1));
  ASSERT_TRUE(shrunk.has_value());
  const Result<Blocks> blocks = FindBlocks(*shrunk);
  ASSERT_TRUE(blocks.has_value());
  EXPECT_EQ(blocks->attention.size(), 1u);
}

TEST(Shrink, SaysWhatIsWrong) {
  const Graph graph = SmallBert();
  const std::string name = FindStructures(graph)[0].name;
  EXPECT_THAT(ErrorOf(graph, {"nowhere", {0}, {}}), HasSubstr("nowhere"));
  EXPECT_THAT(ErrorOf(graph, {name, {0, 4}, {}}), HasSubstr("below 4"));
  EXPECT_THAT(ErrorOf(graph, {name, {1, 1}, {}}), HasSubstr("rising"));
  const std::vector<float> values(4, 0.0f);
  EXPECT_THAT(ErrorOf(graph, {name, {1}, Tensor::FromFloats({2, 2}, values)}), HasSubstr("[2, 2]"));
  const Result<Graph> int8 = RunPass(*FindPass("weights_to_int8"), graph);
  ASSERT_TRUE(int8.has_value());
  EXPECT_THAT(ErrorOf(*int8, {name, {1}, {}}), HasSubstr("i8"));
}

}  // namespace
}  // namespace thimble
