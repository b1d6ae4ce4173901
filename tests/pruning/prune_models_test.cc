// From calibration data to a shrunk graph: what the surgeon says a removal costs is what it does to every architecture.
#include <gtest/gtest.h>

#include "tests/pruning/models.h"
#include "thimble/compress/gram.h"
#include "thimble/compress/obs.h"

namespace thimble::compress {
namespace {

class PruneModels : public testing::TestWithParam<SmallModel> {};

std::vector<train::TrainingExample> Examples() {
  Random random(23);
  std::vector<train::TrainingExample> examples(40);
  for (train::TrainingExample& e : examples) {
    const size_t length = 3 + random.Below(20);
    for (size_t t = 0; t < length; ++t) e.ids.push_back(static_cast<int32_t>(random.Below(40)));
    e.type_ids.assign(length, 0);
  }
  return examples;
}

// What the node of that name gives, by the references.
std::vector<float> OutputOf(Graph graph, const std::string& node,
                            const std::vector<train::TrainingExample>& examples) {
  graph.outputs.push_back({"wanted", graph.FindNode(node)->output});
  std::vector<int32_t> ids, types, offsets{0};
  for (const train::TrainingExample& e : examples) {
    ids.insert(ids.end(), e.ids.begin(), e.ids.end());
    types.insert(types.end(), e.type_ids.begin(), e.type_ids.end());
    offsets.push_back(static_cast<int32_t>(ids.size()));
  }
  std::vector<std::span<const int32_t>> inputs;
  for (const ValueId id : graph.inputs) {
    inputs.emplace_back(graph.value(id).name == kInputIds ? ids : types);
  }
  const std::string_view outputs[] = {"wanted"};
  const auto values = RunReference(graph, {offsets, {}}, inputs, outputs);
  EXPECT_TRUE(values.has_value()) << values.error().message();
  return (*values)[0].floats;
}

double SquaredDistance(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  }
  return sum;
}

at::Tensor ToTorch(const Tensor& weight) {
  return at::tensor(weight.ToFloats(), at::kFloat).view({weight.dim(0), weight.dim(1)});
}

Kept KeptOf(const Structure& s, const Snapshot& snapshot) {
  const at::Tensor w = snapshot.weight.contiguous();
  return {s.name, snapshot.units,
          Tensor::FromFloats({w.size(0), w.size(1)},
                             {w.data_ptr<float>(), static_cast<size_t>(w.numel())})};
}

TEST_P(PruneModels, ErrorsAreThoseOfTheShrunkGraph) {
  const Graph graph = BuildSmall(GetParam());
  const std::vector<train::TrainingExample> examples = Examples();
  const std::vector<Structure> structures = FindStructures(graph);
  std::vector<std::vector<size_t>> groups;
  for (const Structure& s : structures) {
    groups.push_back({s.consumer});
    for (const Structure::Place& place : s.tied) groups.back().push_back(place.consumer);
  }
  size_t visited = 0;
  const auto visit = [&](size_t g, const Gram& gram) -> Status {
    const Structure& s = structures[g];
    const at::Tensor weight = ToTorch(graph.nodes[s.consumer].weights[0].tensor);
    const int64_t counts[] = {s.units / 2};
    TRY(const ObsResult obs, StructuredObs(weight, gram.sum, s.unit_width, counts));
    const Graph shrunk = Shrunk(graph, {KeptOf(s, obs.snapshots[0])});
    const Graph masked = Shrunk(graph, {{s.name, obs.snapshots[0].units, std::nullopt}});
    ++visited;
    // Where layers share the weight, what the second one reads has changed already.
    if (!s.tied.empty()) return {};
    const std::string& consumer = graph.nodes[s.consumer].name;
    const std::vector<float> y = OutputOf(graph, consumer, examples);
    const double energy = at::mm(weight.to(at::kDouble), gram.sum).mul(weight).sum().item<double>();
    const double error = SquaredDistance(OutputOf(shrunk, consumer, examples), y);
    EXPECT_NEAR(error, obs.snapshots[0].error, 1e-4 * energy) << s.name;
    EXPECT_LT(error, SquaredDistance(OutputOf(masked, consumer, examples), y)) << s.name;
    return {};
  };
  const Status done = VisitGrams(
      graph, groups, examples, {}, [](double) { return Status(); }, visit);
  ASSERT_TRUE(done.has_value()) << done.error().message();
  EXPECT_EQ(visited, structures.size());
}

INSTANTIATE_TEST_SUITE_P(All, PruneModels, testing::ValuesIn(kSmallModels),
                         [](const auto& model) { return std::string(model.param.name); });

}  // namespace
}  // namespace thimble::compress
