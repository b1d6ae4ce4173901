// Structures of every architecture: which are found, and that a graph without them computes what one with zeros in
// their place does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/pruning/models.h"
#include "tests/support/session_executor.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/graph/blocks.h"
#include "thimble/passes/passes.h"

namespace thimble {
namespace {

using testing::HasSubstr;

class ShrinkModels : public testing::TestWithParam<SmallModel> {
 protected:
  const Graph graph = BuildSmall(GetParam());
  const std::vector<Structure> structures = FindStructures(graph);
};

// The runtime's answers, through the form of a .thimble file.
std::vector<std::vector<float>> ByRuntime(const Graph& graph) {
  const Result<Graph> packed = ThroughFile(graph, "");
  EXPECT_TRUE(packed.has_value()) << packed.error().message();
  Result<Session> session = Session::Create(*packed, {.outputs = {"last_hidden_state", "logits"}});
  EXPECT_TRUE(session.has_value()) << session.error().message();
  const SmallBatch b;
  Batch batch;
  for (size_t s = 0; s + 1 < b.offsets.size(); ++s) {
    const auto begin = static_cast<size_t>(b.offsets[s]);
    batch.Add(std::span(b.ids).subspan(begin, static_cast<size_t>(b.offsets[s + 1]) - begin));
  }
  const Status run = session->Run(batch);
  EXPECT_TRUE(run.has_value()) << run.error().message();
  std::vector<std::vector<float>> values;
  for (size_t o = 0; o < session->outputs(); ++o) {
    const OutputView view = session->output(o);
    values.emplace_back();
    for (size_t r = 0; r < view.rows; ++r) {
      values.back().insert(values.back().end(), view.row(r).begin(), view.row(r).end());
    }
  }
  return values;
}

TEST_P(ShrinkModels, FindsEveryStructure) {
  std::set<std::string> names;
  size_t heads = 0, columns = 0;
  for (const Structure& s : structures) {
    EXPECT_TRUE(names.insert(s.name).second) << s.name;
    EXPECT_EQ(s.tied.size() + 1, GetParam().places) << s.name;
    EXPECT_TRUE(s.removable) << s.name;
    const bool is_heads = s.kind == StructureKind::kHeads;
    ++(is_heads ? heads : columns);
    EXPECT_EQ(s.units, is_heads ? 3 : 20) << s.name;
    EXPECT_EQ(s.units * s.unit_width, graph.nodes[s.consumer].weights[0].tensor.dim(1)) << s.name;
    EXPECT_EQ(s.producers.size(), is_heads ? 3 : 1) << s.name;
  }
  EXPECT_EQ(heads, GetParam().heads);
  EXPECT_EQ(columns, GetParam().columns);
  EXPECT_TRUE(FindFixedStructures(graph).empty());
}

TEST_P(ShrinkModels, ShrunkIsMasked) {
  for (const uint64_t seed : {1, 2, 3}) {
    const std::vector<Kept> kept = SomeUnits(graph, seed);
    const Graph shrunk = Shrunk(graph, kept);
    EXPECT_LE(Difference(Reference(shrunk), Reference(Masked(graph, kept))), 1e-6) << seed;
    EXPECT_LT(ComputeCost(shrunk, {}).parameters, ComputeCost(graph, {}).parameters) << seed;
  }
}

TEST_P(ShrinkModels, AnythingMayGoWhole) {
  for (const Structure& s : structures) {
    const std::vector<Kept> kept{{s.name, {}, std::nullopt}};
    const Graph shrunk = Shrunk(graph, kept);
    EXPECT_LE(Difference(Reference(shrunk), Reference(Masked(graph, kept))), 1e-6) << s.name;
    EXPECT_EQ(FindStructures(shrunk).size(), structures.size() - 1) << s.name;
  }
  const Graph none = Shrunk(graph, Nothing(graph));
  EXPECT_LE(Difference(Reference(none), Reference(Masked(graph, Nothing(graph)))), 1e-6);
  EXPECT_TRUE(FindStructures(none).empty());
  for (const Node& node : none.nodes) EXPECT_NE(node.op, OpKind::kAttention) << node.name;
}

TEST_P(ShrinkModels, ABlockWithoutAttentionIsABlock) {
  const Result<Blocks> before = FindBlocks(graph);
  ASSERT_TRUE(before.has_value());
  for (const std::vector<Kept>& kept : {Nothing(graph), SomeUnits(graph, 4)}) {
    const Graph shrunk = Shrunk(graph, kept);
    const Result<Blocks> after = FindBlocks(shrunk);
    ASSERT_TRUE(after.has_value()) << after.error().message();
    ASSERT_EQ(after->hidden.size(), before->hidden.size());
    for (size_t i = 0; i < after->hidden.size(); ++i) {
      EXPECT_EQ(shrunk.value(after->hidden[i]).name, graph.value(before->hidden[i]).name);
    }
  }
}

TEST_P(ShrinkModels, AllUnitsKeptIsTheSameGraph) {
  std::vector<Kept> kept;
  for (const Structure& s : structures) {
    kept.push_back({s.name, {}, std::nullopt});
    for (int64_t unit = 0; unit < s.units; ++unit) kept.back().units.push_back(unit);
  }
  const Graph same = Shrunk(graph, kept);
  EXPECT_EQ(Print(same), Print(graph));
  EXPECT_EQ(WeightsSha256(same), WeightsSha256(graph));
}

TEST_P(ShrinkModels, ShrinksAgain) {
  const std::vector<Kept> first = SomeUnits(graph, 5);
  const Graph once = Shrunk(graph, first);
  const std::vector<Kept> second = SomeUnits(once, 6);
  const Graph twice = Shrunk(once, second);
  // The same in one go.
  std::vector<Kept> both = first;
  for (Kept& k : both) {
    const auto s = std::ranges::find(second, k.structure, &Kept::structure);
    ASSERT_NE(s, second.end());
    std::vector<int64_t> units;
    for (const int64_t unit : s->units) units.push_back(k.units[static_cast<size_t>(unit)]);
    k.units = std::move(units);
  }
  const Graph direct = Shrunk(graph, both);
  EXPECT_EQ(Print(twice), Print(direct));
  EXPECT_EQ(WeightsSha256(twice), WeightsSha256(direct));
  EXPECT_LE(Difference(Reference(Shrunk(twice, Nothing(twice))),
                       Reference(Masked(twice, Nothing(twice)))),
            1e-6);
}

TEST_P(ShrinkModels, WeightsThatWereSharedStillAre) {
  for (const std::vector<Kept>& kept : {SomeUnits(graph, 7), Nothing(graph)}) {
    const Graph shrunk = Shrunk(graph, kept);
    const auto owners = [](const Graph& g) {
      std::map<const std::byte*, std::vector<std::string>> nodes;
      for (const Node& node : g.nodes) {
        for (const Weight& w : node.weights) nodes[w.tensor.data().data()].push_back(node.name);
      }
      size_t shared = 0;
      for (const auto& [data, names] : nodes) shared += names.size() > 1;
      return shared;
    };
    EXPECT_EQ(owners(shrunk) > 0, GetParam().places > 1);
    EXPECT_LE(owners(shrunk), owners(graph));
  }
  const Graph half = Shrunk(graph, SomeUnits(graph, 7));
  for (const Structure& s : FindStructures(half)) {
    EXPECT_EQ(s.tied.size() + 1, GetParam().places) << s.name;
  }
}

// Weights in panels, as files have them, are cut in panels; the runtime runs what is left.
TEST_P(ShrinkModels, RunsFromItsFile) {
  const Result<Graph> packed = ThroughFile(graph, "");
  ASSERT_TRUE(packed.has_value());
  for (const std::vector<Kept>& kept : {SomeUnits(graph, 8), Nothing(graph)}) {
    const Graph shrunk = Shrunk(*packed, kept);
    EXPECT_EQ(WeightsSha256(*ThroughFile(Shrunk(graph, kept), "")),
              WeightsSha256(*ThroughFile(shrunk, "")));
    EXPECT_LE(Difference(ByRuntime(shrunk), Reference(Masked(graph, kept))), 2e-5);
    const Result<Graph> again = ThroughFile(shrunk, "");
    ASSERT_TRUE(again.has_value()) << again.error().message();
    EXPECT_EQ(FindStructures(*again).size(), FindStructures(shrunk).size());
    EXPECT_EQ(FindBlocks(*again)->hidden.size(), FindBlocks(graph)->hidden.size());
  }
}

TEST_P(ShrinkModels, RefusesWhatIsNoFloat) {
  const Result<Graph> int8 = RunPass(*FindPass("weights_to_int8"), graph);
  ASSERT_TRUE(int8.has_value());
  const Result<Graph> shrunk = Shrink(*int8, SomeUnits(*int8, 1));
  ASSERT_FALSE(shrunk.has_value());
  EXPECT_EQ(shrunk.error().code(), ErrorCode::kUnsupported);
  EXPECT_THAT(shrunk.error().message(), HasSubstr("prune before quantizing"));
}

INSTANTIATE_TEST_SUITE_P(All, ShrinkModels, testing::ValuesIn(kSmallModels),
                         [](const auto& model) { return std::string(model.param.name); });

}  // namespace
}  // namespace thimble
