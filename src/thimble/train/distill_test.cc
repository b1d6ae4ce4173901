#include "thimble/train/distill.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "thimble/formats/thimble/packed.h"
#include "thimble/graph/blocks.h"
#include "thimble/train/libraries.h"
#include "thimble/train/test_models.h"
#include "thimble/train/trainer.h"

namespace thimble::train {
namespace {

// A folder of its own for each test, gone at its end.
class Folder {
 public:
  Folder() : path_(testing::TempDir() + "distill_test_" + std::to_string(getpid())) {
    std::filesystem::remove_all(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Result<TeacherCache> OpenCache(const Folder& folder, const DistillPlan& plan,
                               const std::vector<TrainingExample>& examples,
                               const std::string& key = "teacher") {
  return TeacherCache::Open(
      folder.path(), Packed(plan.teacher), key, plan.teacher_outputs, examples.size(),
      [&](size_t i) -> const TrainingExample& { return examples[i]; }, 1,
      [](double) { return Status(); });
}

double LossOf(const Graph& student, const Graph& teacher, const DistillOptions& options) {
  const Folder folder;
  const auto examples = SmallData(9);
  const auto plan = PlanDistillation(student, teacher, 1, options);
  EXPECT_TRUE(plan.has_value()) << plan.error().message();
  const auto cache = OpenCache(folder, *plan, examples);
  EXPECT_TRUE(cache.has_value()) << cache.error().message();
  const auto objective = DistillObjective(*plan, options, Task::kSingleLabel, nullptr, *cache);
  std::vector<const TrainingExample*> pointers;
  for (const TrainingExample& e : examples) pointers.push_back(&e);
  const TrainingBatch batch = objective->Prepare(pointers, 1);
  const ParameterSet parameters = ParameterSet::Create(plan->graph);
  const auto executor = Executor::Create(plan->graph, parameters);
  const auto values = executor->Run(batch.tokens, objective->Values());
  return objective->Loss(batch, *values).item<double>() / 9;
}

DistillOptions Only(double DistillOptions::*weight) {
  DistillOptions options;
  options.task = options.logits = 0;
  options.*weight = 1;
  return options;
}

constexpr double DistillOptions::*kLosses[] = {&DistillOptions::logits, &DistillOptions::hidden,
                                               &DistillOptions::attention, &DistillOptions::scores,
                                               &DistillOptions::values};

// The runtime and libtorch compute the same to float32 rounding, and all losses are squares or divergences.
TEST(Distillation, CostsNothingWhereTheStudentIsTheTeacher) {
  const Graph graph = SmallBert();
  for (const auto weight : kLosses) {
    EXPECT_NEAR(LossOf(graph, graph, Only(weight)), 0, 1e-5);
  }
}

TEST(Distillation, CostsSomethingWhereTheyDiffer) {
  for (const auto weight : kLosses) {
    EXPECT_GT(LossOf(SmallBert(Task::kSingleLabel, 3, 2), SmallBert(), Only(weight)), 1e-4);
  }
}

TEST(Distillation, IsTheDivergenceOfLogitsAtATemperature) {
  const Graph student = SmallBert(Task::kSingleLabel, 3, 2), teacher = SmallBert();
  const auto examples = SmallData(9);
  Batch batch;
  for (const TrainingExample& e : examples) batch.Add(e.ids, e.type_ids);
  const auto logits_of = [&](const Graph& graph) {
    const std::span<const int32_t> inputs[] = {batch.ids(), batch.type_ids()};
    const std::string_view names[] = {"logits"};
    return (*RunReference(graph, batch.packed(), inputs, names))[0].floats;
  };
  const auto s = logits_of(student), t = logits_of(teacher);
  double sum = 0;
  for (size_t i = 0; i < 9; ++i) {
    double zs = 0, zt = 0;
    for (size_t c = 0; c < 3; ++c) {
      zs += std::exp(static_cast<double>(s[3 * i + c]) / 2);
      zt += std::exp(static_cast<double>(t[3 * i + c]) / 2);
    }
    for (size_t c = 0; c < 3; ++c) {
      const double log_s = static_cast<double>(s[3 * i + c]) / 2 - std::log(zs);
      const double log_t = static_cast<double>(t[3 * i + c]) / 2 - std::log(zt);
      sum += 4 * std::exp(log_t) * (log_t - log_s);
    }
  }
  const double got = LossOf(student, teacher, Only(&DistillOptions::logits));
  EXPECT_NEAR(got, sum / 9, 1e-4 * sum / 9);
}

Graph Wide() {
  const auto config = nlohmann::json::parse(
      R"({"model_type":"bert","vocab_size":40,"hidden_size":24,"num_hidden_layers":4,
          "num_attention_heads":2,"intermediate_size":32,"max_position_embeddings":32})");
  RandomWeights weights(5, 0.1);
  return *BuildGraph(config, {.task = Task::kSingleLabel, .labels = 3}, weights);
}

TEST(Distillation, ProjectsWhereWidthsDifferAndLeavesNothingBehind) {
  const Graph student = SmallBert();
  const auto plan = PlanDistillation(student, Wide(), 1, Only(&DistillOptions::hidden));
  ASSERT_TRUE(plan.has_value()) << plan.error().message();
  // Embeddings and two blocks: three pairs, each with a projection from 16 to 24.
  EXPECT_EQ(plan->pairs.size(), 3u);
  EXPECT_EQ(plan->graph.nodes.size(), student.nodes.size() + 3);
  EXPECT_EQ(Print(*WithoutDistillation(plan->graph)), Print(student));
}

TEST(Distillation, RefusesWhatDoesNotFit) {
  const auto code = [](const Graph& teacher, DistillOptions options) {
    const auto plan = PlanDistillation(SmallBert(), teacher, 1, options);
    return plan.has_value() ? std::string() : plan.error().message();
  };
  EXPECT_NE(code(SmallBert(Task::kSingleLabel, 5), Only(&DistillOptions::logits)).find("5"),
            std::string::npos);
  DistillOptions layers = Only(&DistillOptions::hidden);
  layers.layers = {{0, 9}};
  EXPECT_NE(code(Wide(), layers).find("0:9"), std::string::npos);
  DistillOptions values = Only(&DistillOptions::values);
  values.relation_heads = 5;
  EXPECT_NE(code(Wide(), values).find("relation heads"), std::string::npos);
  EXPECT_NE(code(SmallBert(Task::kMaskedLm), Only(&DistillOptions::embedding)).find("pooled"),
            std::string::npos);
}

TEST(TeacherCache, IsComputedOnceAndNamedByWhatItDependsOn) {
  const Folder folder;
  const auto examples = SmallData(20);
  const auto plan = *PlanDistillation(SmallBert(), Wide(), 1, Only(&DistillOptions::hidden));
  const auto first = OpenCache(folder, plan, examples);
  ASSERT_TRUE(first.has_value()) << first.error().message();
  EXPECT_TRUE(first->computed());
  const auto second = OpenCache(folder, plan, examples);
  EXPECT_FALSE(second->computed());
  const size_t some[] = {7, 2};
  EXPECT_TRUE(at::equal(first->Get(1, some), second->Get(1, some)));
  EXPECT_EQ(first->Get(1, some).size(0),
            static_cast<int64_t>(examples[7].ids.size() + examples[2].ids.size()));
  EXPECT_TRUE(OpenCache(folder, plan, examples, "another teacher")->computed());
  EXPECT_TRUE(OpenCache(folder, plan, SmallData(21))->computed());
}

TEST(TeacherCache, IsComputedAgainWhereTheFileIsBroken) {
  const Folder folder;
  const auto examples = SmallData(20);
  const auto plan = *PlanDistillation(SmallBert(), Wide(), 1, Only(&DistillOptions::hidden));
  const std::string path = OpenCache(folder, plan, examples)->path();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_TRUE(OpenCache(folder, plan, examples)->computed());
  EXPECT_FALSE(OpenCache(folder, plan, examples)->computed());
}

class Losses : public TrainingObserver {
 public:
  Status OnStep(const StepReport& report) override {
    values.push_back(report.loss);
    return {};
  }
  std::vector<double> values;
};

TEST(Distillation, TeachesAStudent) {
  UseOneThreadPerCall();
  const Folder folder;
  const auto examples = SmallData();
  const Graph student = SmallBert(Task::kSingleLabel, 3, 2), teacher = Wide();
  DistillOptions options = Only(&DistillOptions::logits);
  options.hidden = 1;
  const auto plan = *PlanDistillation(student, teacher, 1, options);
  const auto cache = OpenCache(folder, plan, examples);
  const auto objective = DistillObjective(plan, options, Task::kSingleLabel, nullptr, *cache);
  Losses losses;
  TrainerOptions run;
  run.threads = 2;
  run.epochs = 30;
  run.rate = 3e-3;
  const auto result = Train(plan.graph, *objective, examples, run, nullptr, losses);
  ASSERT_TRUE(result.has_value()) << result.error().message();
  EXPECT_LT(losses.values.back(), losses.values.front() / 3);
  EXPECT_EQ(Print(*WithoutDistillation(result->graph)), Print(student));
}

TEST(Distillation, NormalizedHiddenStatesMayHaveAnySize) {
  DistillOptions options = Only(&DistillOptions::hidden);
  // A graph whose last norms are scaled gives larger states in the same direction.
  Graph scaled = SmallBert();
  const auto blocks = *FindBlocks(scaled);
  for (Node& node : scaled.nodes) {
    if (node.output != blocks.hidden.back()) continue;
    for (Weight& weight : node.weights) {
      std::vector<float> values = weight.tensor.ToFloats();
      for (float& v : values) v *= 3;
      weight.tensor = Tensor::FromFloats(weight.tensor.shape(), values);
    }
  }
  EXPECT_GT(LossOf(SmallBert(), scaled, options), 0.1);
  options.normalize_hidden = true;
  EXPECT_NEAR(LossOf(SmallBert(), scaled, options), 0, 1e-4);
}

// Weights of the graph, by name, that differ from those of `before`.
std::vector<std::string> Changed(const Graph& before, const Graph& after) {
  std::vector<std::string> names;
  for (size_t n = 0; n < before.nodes.size(); ++n) {
    for (size_t w = 0; w < before.nodes[n].weights.size(); ++w) {
      const Weight& weight = before.nodes[n].weights[w];
      if (weight.tensor.ToFloats() != after.nodes[n].weights[w].tensor.ToFloats()) {
        names.push_back(weight.name);
      }
    }
  }
  return names;
}

TEST(Distillation, ProgressiveTransferTeachesOneBlockAfterAnother) {
  UseOneThreadPerCall();
  const Folder folder;
  const auto examples = SmallData();
  const Graph student = SmallBert(Task::kSingleLabel, 3, 2), teacher = Wide();
  DistillOptions options = Only(&DistillOptions::hidden);
  options.normalize_hidden = true;
  options.progressive = 1;
  const auto plan = *PlanDistillation(student, teacher, 1, options);
  ASSERT_EQ(plan.taught, (std::vector<int>{0, 1}));
  const auto cache = OpenCache(folder, plan, examples);
  const auto objective = DistillObjective(plan, options, Task::kSingleLabel, nullptr, *cache);
  Losses losses;
  TrainerOptions run;
  run.threads = 2;
  run.epochs = 80;
  run.rate = 1e-2;
  run.evaluate_every = 40;
  run.rate_factor = ProgressiveRates(plan, options);
  std::vector<Graph> phases;
  const Evaluator keep = [&](const Graph& graph) {
    phases.push_back(*WithoutDistillation(graph));
    return Result<Evaluation>(Evaluation{.score = static_cast<double>(phases.size())});
  };
  const auto result = Train(plan.graph, *objective, examples, run, keep, losses);
  ASSERT_TRUE(result.has_value()) << result.error().message();
  ASSERT_EQ(phases.size(), 2u);

  // The first phase changes the first block alone, the second the second and, slowly, the first.
  bool first = false, second = false;
  for (const std::string& name : Changed(student, phases[0])) {
    EXPECT_NE(name.find("layer.0."), std::string::npos) << name;
    first = true;
  }
  for (const std::string& name : Changed(phases[0], phases[1])) {
    EXPECT_NE(name.find("layer."), std::string::npos) << name;
    second = second || name.find("layer.1.") != std::string::npos;
  }
  EXPECT_TRUE(first);
  EXPECT_TRUE(second);
  const size_t half = losses.values.size() / 2;
  EXPECT_LT(losses.values[half - 1], losses.values[0] / 2);
  EXPECT_LT(losses.values.back(), losses.values[half] / 2);
}

}  // namespace
}  // namespace thimble::train
