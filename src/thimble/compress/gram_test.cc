#include "thimble/compress/gram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "thimble/train/test_models.h"

namespace thimble::compress {
namespace {

using train::SmallBert;
using train::SmallData;
using train::TrainingExample;

size_t NodeOf(const Graph& graph, std::string_view name) {
  size_t i = 0;
  while (graph.nodes[i].name != name) ++i;
  return i;
}

std::map<size_t, Gram> Collect(const Graph& graph, const std::vector<std::vector<size_t>>& groups,
                               std::span<const TrainingExample> examples, GramOptions options) {
  std::map<size_t, Gram> grams;
  const Status done = VisitGrams(graph, groups, examples, options, [&](size_t g, const Gram& gram) {
    EXPECT_TRUE(grams.emplace(g, gram).second);
    return Status();
  });
  EXPECT_TRUE(done.has_value()) << done.error().message();
  EXPECT_EQ(grams.size(), groups.size());
  return grams;
}

// The same by the references, one example at a time.
Gram Plain(Graph graph, size_t linear, std::span<const TrainingExample> examples) {
  const ValueId value = graph.nodes[linear].inputs[0];
  graph.outputs.push_back({"input", value});
  Gram gram{.width = graph.value(value).type.width};
  gram.sum.assign(static_cast<size_t>(gram.width * gram.width), 0.0);
  gram.total.assign(static_cast<size_t>(gram.width), 0.0);
  for (const TrainingExample& e : examples) {
    const std::vector<int32_t> offsets{0, static_cast<int32_t>(e.ids.size())};
    const std::span<const int32_t> inputs[] = {e.ids, e.type_ids};
    const std::string_view outputs[] = {"input"};
    const auto values = RunReference(graph, {offsets, {}}, inputs, outputs);
    EXPECT_TRUE(values.has_value()) << values.error().message();
    const std::vector<float>& x = (*values)[0].floats;
    const auto width = static_cast<size_t>(gram.width);
    for (size_t r = 0; r < x.size(); r += width, ++gram.rows) {
      for (size_t i = 0; i < width; ++i) {
        gram.total[i] += x[r + i];
        for (size_t j = 0; j < width; ++j) {
          gram.sum[i * width + j] += static_cast<double>(x[r + i]) * x[r + j];
        }
      }
    }
  }
  return gram;
}

void ExpectNear(const Gram& found, const Gram& expected) {
  ASSERT_EQ(found.width, expected.width);
  EXPECT_EQ(found.rows, expected.rows);
  double largest = 0;
  for (const double v : expected.sum) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < expected.sum.size(); ++i) {
    ASSERT_NEAR(found.sum[i], expected.sum[i], 1e-5 * largest) << i;
  }
  for (size_t i = 0; i < expected.total.size(); ++i) {
    ASSERT_NEAR(found.total[i], expected.total[i], 1e-5 * largest) << i;
  }
  for (int64_t i = 0; i < found.width; ++i) {
    for (int64_t j = 0; j < i; ++j) ASSERT_EQ(found.at(i, j), found.at(j, i));
  }
}

TEST(VisitGrams, SumsWhatLinearsRead) {
  const Graph graph = SmallBert();
  const std::vector<TrainingExample> examples = SmallData(20);
  std::vector<std::vector<size_t>> groups;
  for (const char* name : {"bert.encoder.layer.0.output", "bert.encoder.layer.1.attention_output",
                           "bert.encoder.layer.0.query", "classifier"}) {
    groups.push_back({NodeOf(graph, name)});
  }
  const auto grams = Collect(graph, groups, examples, {.threads = 2, .batch_tokens = 40});
  for (size_t g = 0; g < groups.size(); ++g) {
    ExpectNear(grams.at(g), Plain(graph, groups[g][0], examples));
  }
  EXPECT_EQ(grams.at(3).rows, 20);  // one per sequence
}

TEST(VisitGrams, LittleMemoryTakesSeveralRunsAndGivesTheSame) {
  const Graph graph = SmallBert();
  const std::vector<TrainingExample> examples = SmallData(12);
  std::vector<std::vector<size_t>> groups;
  for (const Structure& s : FindStructures(graph)) groups.push_back(Consumers(s));
  const auto all = Collect(graph, groups, examples, {});
  double last = 0;
  size_t steps = 0;
  const auto few = Collect(graph, groups, examples,
                           {.batch_tokens = 10, .max_bytes = 1, .progress = [&](double share) {
                              EXPECT_GT(share, last);
                              last = share;
                              ++steps;
                              return Status();
                            }});
  EXPECT_EQ(last, 1);
  EXPECT_GT(steps, groups.size());
  for (const auto& [g, gram] : all) ExpectNear(few.at(g), gram);
}

TEST(VisitGrams, GroupsAreSummed) {
  const Graph graph = SmallBert();
  const std::vector<TrainingExample> examples = SmallData(8);
  const size_t first = NodeOf(graph, "bert.encoder.layer.0.output"),
               second = NodeOf(graph, "bert.encoder.layer.1.output");
  const auto grams = Collect(graph, {{first, second}, {first}, {second}, {first}}, examples, {});
  EXPECT_EQ(grams.at(1).sum, grams.at(3).sum);
  EXPECT_EQ(grams.at(0).rows, grams.at(1).rows + grams.at(2).rows);
  for (size_t i = 0; i < grams.at(0).sum.size(); ++i) {
    EXPECT_NEAR(grams.at(0).sum[i], grams.at(1).sum[i] + grams.at(2).sum[i],
                1e-9 * std::abs(grams.at(0).sum[i]) + 1e-12);
  }
}

TEST(VisitGrams, KeepsToTheTokenBudget) {
  const Graph graph = SmallBert();
  const std::vector<TrainingExample> examples = SmallData(30);
  const size_t linear = NodeOf(graph, "bert.encoder.layer.0.output");
  const Gram gram = Collect(graph, {{linear}}, examples, {.max_tokens = 25}).at(0);
  size_t tokens = 0, count = 0;
  while (tokens < 25) tokens += examples[count++].ids.size();
  EXPECT_EQ(gram.rows, static_cast<int64_t>(tokens));
  ExpectNear(gram, Plain(graph, linear, std::span(examples).first(count)));
}

TEST(VisitGrams, SaysWhatIsWrong) {
  const Graph graph = SmallBert();
  const std::vector<TrainingExample> examples = SmallData(4);
  const auto error = [&](const std::vector<std::vector<size_t>>& groups,
                         std::span<const TrainingExample> data, GramOptions options = {}) {
    const Status done =
        VisitGrams(graph, groups, data, options, [](size_t, const Gram&) { return Status(); });
    return done.has_value() ? "no error" : done.error().message();
  };
  const size_t linear = NodeOf(graph, "bert.encoder.layer.0.output");
  EXPECT_EQ(error({{0}}, examples), "moments are taken of what linears read, and node 0 is none");
  EXPECT_EQ(error({{linear, NodeOf(graph, "classifier")}}, examples),
            "classifier reads another width than others of its group");
  EXPECT_EQ(error({{linear}}, {}), "there are no calibration examples");
  EXPECT_EQ(error({{linear}}, examples,
                  {.progress = [](double) { return Status(Error(ErrorCode::kInterrupted, "stop")); }}),
            "stop");
  EXPECT_EQ(error({}, {}), "no error");
}

}  // namespace
}  // namespace thimble::compress
