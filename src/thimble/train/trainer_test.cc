#include "thimble/train/trainer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <string>

#include "thimble/base/file.h"
#include "thimble/passes/lora.h"
#include "thimble/passes/passes.h"
#include "thimble/passes/replace_head.h"
#include "thimble/train/libraries.h"
#include "thimble/train/test_models.h"
#include "thimble/train/test_ranks.h"

namespace thimble::train {
namespace {

// Notes every loss; interrupts after `stop_at` steps.
class Recorder : public TrainingObserver {
 public:
  Status OnStep(const StepReport& report) override {
    losses.push_back(report.loss);
    if (report.skipped) ++skipped;
    last = report;
    return {};
  }
  Status OnEvaluation(const Evaluation&, int64_t, double, bool) override {
    ++evaluations;
    return {};
  }
  Status CheckInterrupt() override {
    if (stop_at > 0 && last.step >= stop_at) return Error(ErrorCode::kInterrupted, "stop");
    return {};
  }
  std::vector<double> losses;
  int64_t skipped = 0, evaluations = 0, stop_at = 0;
  StepReport last;
};

std::vector<float> AllWeights(const Graph& graph) {
  std::vector<float> all;
  for (const Node& node : graph.nodes) {
    for (const Weight& weight : node.weights) {
      const auto floats = weight.tensor.floats();
      all.insert(all.end(), floats.begin(), floats.end());
    }
  }
  return all;
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return largest;
}

struct RunOptionsForTest {
  int threads = 1;
  int64_t accumulate = 1;
  size_t batch = 16;
  std::string checkpoint;
  bool resume = false;
  int64_t stop_at = 0;
  double average = 0;
  double epochs = 4;
  int64_t patience = 0;
  double max_seconds = 0;
  std::string fingerprint;
};

Result<TrainingResult> RunSmall(const RunOptionsForTest& r, Recorder& recorder,
                                const Evaluator& evaluator = nullptr,
                                Collective* collective = nullptr) {
  UseOneThreadPerCall();
  const Graph graph = SmallBert();
  const auto objective = *TaskObjective(graph, Task::kSingleLabel);
  TrainerOptions options;
  options.threads = r.threads;
  options.epochs = r.epochs;
  options.accumulate = r.accumulate;
  options.batches.examples = r.batch;
  options.rate = 3e-3;
  options.optimizer.average_decay = r.average;
  options.executor.hidden_dropout = options.executor.attention_dropout = 0.1;
  options.checkpoint = r.checkpoint;
  options.checkpoint_seconds = 0;  // after every step
  options.resume = r.resume;
  recorder.stop_at = r.stop_at;
  options.patience = r.patience;
  options.max_seconds = r.max_seconds;
  options.fingerprint = r.fingerprint;
  return Train(graph, *objective, SmallData(), options, evaluator, recorder, collective);
}

TEST(Trainer, Learns) {
  Recorder recorder;
  RunOptionsForTest run;
  run.epochs = 20;
  const auto result = RunSmall(run, recorder);
  ASSERT_TRUE(result.has_value()) << result.error().message();
  EXPECT_NEAR(recorder.losses.front(), std::log(3.0), 0.3);
  EXPECT_LT(recorder.losses.back(), 0.6);
  EXPECT_EQ(result->steps, 120);
}

TEST(Trainer, RepeatsBitForBit) {
  for (const int threads : {1, 2}) {
    Recorder a, b;
    EXPECT_EQ(AllWeights(RunSmall({.threads = threads}, a)->graph),
              AllWeights(RunSmall({.threads = threads}, b)->graph));
    EXPECT_EQ(a.losses, b.losses);
  }
}

// The same sums in another order; Adam makes the smallest gradients as large as the others, so that an error
// of rounding in one of them can grow to a step's size, 3e-3, but hardly does.
constexpr double kOtherOrder = 2e-4;

TEST(Trainer, GivesTheSameWithMoreThreads) {
  Recorder one, three;
  const auto a = RunSmall({.threads = 1}, one), b = RunSmall({.threads = 3}, three);
  EXPECT_LE(LargestDifference(AllWeights(a->graph), AllWeights(b->graph)), kOtherOrder);
  for (size_t i = 0; i < one.losses.size(); ++i) {
    EXPECT_NEAR(one.losses[i], three.losses[i], 1e-4) << i;
  }
}

TEST(Trainer, AccumulatesBatchesIntoOneUpdate) {
  // Two batches of 8 per update see the examples of one batch of 16: as many updates, about the same first loss.
  Recorder whole, halves;
  const auto a = RunSmall({.batch = 16, .epochs = 1}, whole);
  const auto b = RunSmall({.accumulate = 2, .batch = 8, .epochs = 1}, halves);
  EXPECT_EQ(a->steps, b->steps);
  EXPECT_NEAR(whole.losses[0], halves.losses[0], 0.05);  // dropout differs by the step's key
}

TEST(Trainer, ResumesToTheVeryWeights) {
  const std::string path = testing::TempDir() + "trainer_test.checkpoint";
  for (const double average : {0.0, 0.9}) {
    for (const int64_t stop : {1, 7, 13}) {
      std::remove(path.c_str());
      Recorder whole, first, second;
      const auto want = RunSmall({.average = average}, whole);
      const auto stopped =
          RunSmall({.checkpoint = path, .stop_at = stop, .average = average}, first);
      ASSERT_FALSE(stopped.has_value());
      EXPECT_EQ(stopped.error().code(), ErrorCode::kInterrupted);
      const auto got = RunSmall({.checkpoint = path, .resume = true, .average = average}, second);
      ASSERT_TRUE(got.has_value()) << got.error().message();
      EXPECT_EQ(AllWeights(got->graph), AllWeights(want->graph)) << stop;
      EXPECT_EQ(first.losses.size() + second.losses.size(), whole.losses.size());
    }
  }
  std::remove(path.c_str());
}

TEST(Trainer, RefusesTheCheckpointOfAnotherRun) {
  const std::string path = testing::TempDir() + "trainer_test_other.checkpoint";
  Recorder first, second;
  EXPECT_FALSE(RunSmall({.checkpoint = path, .stop_at = 2}, first).has_value());
  const auto result = RunSmall({.threads = 2, .checkpoint = path, .resume = true}, second);
  ASSERT_FALSE(result.has_value());
  EXPECT_NE(result.error().message().find("another run"), std::string::npos);
  std::remove(path.c_str());
}

TEST(Trainer, SaysWhereACheckpointIsBroken) {
  const std::string path = testing::TempDir() + "trainer_test_broken.checkpoint";
  Recorder first;
  EXPECT_FALSE(RunSmall({.checkpoint = path, .stop_at = 2}, first).has_value());
  const std::string bytes = *ReadFile(path);
  for (const size_t keep : {size_t{0}, size_t{7}, bytes.size() / 2, bytes.size() - 1}) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    std::fwrite(bytes.data(), 1, keep, file);
    std::fclose(file);
    Recorder second;
    const auto result = RunSmall({.checkpoint = path, .resume = true}, second);
    ASSERT_FALSE(result.has_value()) << keep;
    EXPECT_NE(result.error().message().find(path), std::string::npos);
  }
  std::remove(path.c_str());
}

TEST(Trainer, KeepsTheBestWeightsAndStopsEarly) {
  // Scores by call: the second is the best.
  const std::vector<double> scores{0.5, 0.9, 0.8, 0.7, 0.6, 0.5};
  size_t calls = 0;
  std::vector<std::vector<float>> seen;
  const Evaluator evaluator = [&](const Graph& graph) -> Result<Evaluation> {
    seen.push_back(AllWeights(graph));
    return Evaluation{.score = scores[calls++], .metrics = {}};
  };
  UseOneThreadPerCall();
  const Graph graph = SmallBert();
  const auto objective = *TaskObjective(graph, Task::kSingleLabel);
  Recorder recorder;
  TrainerOptions options;
  options.epochs = 6;
  options.patience = 2;
  const auto result = Train(graph, *objective, SmallData(), options, evaluator, recorder);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->stopped_early);
  EXPECT_EQ(calls, 4u);
  EXPECT_EQ(AllWeights(result->graph), seen[1]);
  EXPECT_EQ(result->best->score, 0.9);
}

// A loss that is not a number now and then, or always.
class BrokenLoss : public Objective {
 public:
  BrokenLoss(ValueId logits, bool always) : logits_(logits), always_(always) {}
  std::vector<ValueId> Values() const override { return {logits_}; }
  at::Tensor Loss(const TrainingBatch& batch, std::span<const at::Tensor> values) const override {
    const at::Tensor loss = values[0].square().sum();
    const bool broken = always_ || batch.examples[0]->key % 4 == 0;
    return broken ? loss * std::numeric_limits<float>::quiet_NaN() : loss;
  }

 private:
  ValueId logits_;
  bool always_;
};

TEST(Trainer, SkipsStepsWithoutAFiniteGradient) {
  const Graph graph = SmallBert();
  const BrokenLoss objective(graph.FindOutput("logits")->value, /*always=*/false);
  Recorder recorder;
  const auto result = Train(graph, objective, SmallData(), {.epochs = 2}, nullptr, recorder);
  ASSERT_TRUE(result.has_value());
  EXPECT_GT(result->skipped_steps, 0);
  EXPECT_LT(result->skipped_steps, result->steps);
  EXPECT_EQ(result->skipped_steps, recorder.skipped);
  for (const float w : AllWeights(result->graph)) ASSERT_TRUE(std::isfinite(w));
}

TEST(Trainer, GivesUpWhenTheLossStaysBroken) {
  const Graph graph = SmallBert();
  const BrokenLoss objective(graph.FindOutput("logits")->value, /*always=*/true);
  Recorder recorder;
  TrainerOptions options;
  options.epochs = 50;
  const auto result = Train(graph, objective, SmallData(), options, nullptr, recorder);
  ASSERT_FALSE(result.has_value());
  EXPECT_NE(result.error().message().find("--lr"), std::string::npos);
}

// --- Several ranks

TEST(TrainerRanks, GiveWhatOneProcessGivesBitForBit) {
  const std::vector<std::pair<int, int>> cases{{2, 1}, {3, 1}, {2, 2}};  // ranks, threads
  for (const auto& [ranks, threads] : cases) {
    Recorder alone;
    const auto want = RunSmall({.threads = ranks * threads, .average = 0.9}, alone);
    OnRanks(ranks, [&, threads = threads](ProcessGroup& group) {
      Recorder recorder;
      const auto got = RunSmall({.threads = threads, .average = 0.9}, recorder, nullptr, &group);
      ASSERT_TRUE(got.has_value()) << got.error().message();
      EXPECT_EQ(AllWeights(got->graph), AllWeights(want->graph)) << group.rank();
      EXPECT_EQ(recorder.losses, alone.losses);
    });
  }
}

TEST(TrainerRanks, ResumeOnOneProcessToTheVeryWeights) {
  const std::string path = testing::TempDir() + "trainer_test_ranks.checkpoint";
  std::remove(path.c_str());
  Recorder whole, second;
  const auto want = RunSmall({.threads = 2}, whole);
  OnRanks(2, [&](ProcessGroup& group) {
    // Only rank 1 is told to stop; all do, and rank 0 writes the checkpoint.
    Recorder recorder;
    const auto stopped = RunSmall({.checkpoint = path, .stop_at = group.rank() == 1 ? 7 : 0},
                                  recorder, nullptr, &group);
    ASSERT_FALSE(stopped.has_value());
    EXPECT_EQ(stopped.error().code(), ErrorCode::kInterrupted);
    EXPECT_TRUE(FileExists(path));
  });
  OnRanks(2, [&](ProcessGroup& group) {
    Recorder recorder;
    const auto stopped =
        RunSmall({.checkpoint = path, .resume = true, .stop_at = 12}, recorder, nullptr, &group);
    ASSERT_FALSE(stopped.has_value());
    EXPECT_EQ(stopped.error().code(), ErrorCode::kInterrupted) << stopped.error().message();
  });
  const auto got = RunSmall({.threads = 2, .checkpoint = path, .resume = true}, second);
  ASSERT_TRUE(got.has_value()) << got.error().message();
  EXPECT_EQ(AllWeights(got->graph), AllWeights(want->graph));
  EXPECT_LT(second.losses.size(), whole.losses.size());
  std::remove(path.c_str());
}

TEST(TrainerRanks, RefuseARankWithOtherOptions) {
  OnRanks(3, [](ProcessGroup& group) {
    Recorder recorder;
    const auto result = RunSmall({.fingerprint = group.rank() == 2 ? "other data" : "data"},
                                 recorder, nullptr, &group);
    ASSERT_FALSE(result.has_value());
    EXPECT_TRUE(result.error().message().starts_with("rank 2 of 3 has other data"))
        << result.error().message();
  });
}

TEST(TrainerRanks, FollowTheScoresOfRankZero) {
  const std::vector<double> scores{0.5, 0.9, 0.8, 0.7, 0.6, 0.5};
  OnRanks(2, [&](ProcessGroup& group) {
    size_t calls = 0;
    std::vector<float> best;
    const Evaluator evaluator = [&](const Graph& graph) -> Result<Evaluation> {
      if (calls == 1) best = AllWeights(graph);
      return Evaluation{.score = scores[calls++], .metrics = {}};
    };
    Recorder recorder;
    const auto result = RunSmall({.epochs = 6, .patience = 2}, recorder, evaluator, &group);
    ASSERT_TRUE(result.has_value()) << result.error().message();
    EXPECT_TRUE(result->stopped_early);
    EXPECT_EQ(recorder.evaluations, 4);
    EXPECT_EQ(calls, group.rank() == 0 ? 4u : 0u);
    if (group.rank() == 0) {
      EXPECT_EQ(AllWeights(result->graph), best);
    }
  });
}

TEST(TrainerRanks, StopTogetherWhenTheTimeIsUp) {
  int64_t steps[2] = {0, 0};
  OnRanks(2, [&](ProcessGroup& group) {
    Recorder recorder;
    const auto result = RunSmall({.epochs = 1e6, .max_seconds = 0.5}, recorder, nullptr, &group);
    ASSERT_TRUE(result.has_value()) << result.error().message();
    steps[group.rank()] = result->steps;
  });
  EXPECT_GT(steps[0], 0);
  EXPECT_EQ(steps[0], steps[1]);
}

TEST(TrainerRanks, EndTogetherWhenOneFails) {
  const std::string path = testing::TempDir() + "trainer_test_failing.checkpoint";
  std::remove(path.c_str());
  std::atomic<int> told = 0;
  OnRanks(3, [&](ProcessGroup& group) {
    // Rank 2 fails, the others find it gone.
    class Failing : public Recorder {
     public:
      Status OnStep(const StepReport& report) override {
        if (report.step == 5) return IoError("the disk is full");
        return Recorder::OnStep(report);
      }
    };
    Failing failing;
    Recorder recorder;
    const auto result =
        RunSmall({.checkpoint = path},
                 group.rank() == 2 ? static_cast<Recorder&>(failing) : recorder, nullptr, &group);
    ASSERT_FALSE(result.has_value());
    if (!group.FirstToFail()) return;
    ++told;
    EXPECT_EQ(result.error().message(), "the disk is full");
  });
  EXPECT_EQ(told, 1);
  std::remove(path.c_str());
}

struct AdapterRun {
  Graph graph;  // before
  TrainingResult result;
  Recorder recorder;
};

// The features frozen; low-rank matrices, unless `rank` is 0, and the head are trained.
AdapterRun RunAdapter(int64_t rank,
                      const std::function<double(std::string_view, double)>& factor = nullptr) {
  UseOneThreadPerCall();
  AdapterRun run{SmallBert(), {}, {}};
  const std::vector<bool> features = *FeatureNodes(run.graph);
  std::set<std::string, std::less<>> frozen;
  for (size_t i = 0; i < features.size(); ++i) {
    if (!features[i]) continue;
    for (const Weight& weight : run.graph.nodes[i].weights) frozen.insert(weight.name);
  }
  if (rank > 0) run.graph = *AddLora(run.graph, {.rank = rank, .targets = {"all"}});
  const auto objective = *TaskObjective(run.graph, Task::kSingleLabel);
  TrainerOptions options;
  options.epochs = 30;
  options.batches.examples = 16;
  options.rate = 1e-2;
  options.optimizer.weight_decay = 0.1;
  options.executor.hidden_dropout = options.executor.attention_dropout = 0.1;
  options.trainable = [&](std::string_view name) { return !frozen.contains(name); };
  options.rate_factor = factor;
  auto result = Train(run.graph, *objective, SmallData(), options, nullptr, run.recorder);
  EXPECT_TRUE(result.has_value());
  run.result = *std::move(result);
  return run;
}

TEST(Trainer, ChangesAnAdapterAndItsHeadAlone) {
  const AdapterRun run = RunAdapter(4);
  size_t own = 0;
  for (size_t n = 0; n < run.graph.nodes.size(); ++n) {
    const Node &before = run.graph.nodes[n], &after = run.result.graph.nodes[n];
    for (size_t w = 0; w < before.weights.size(); ++w) {
      const Tensor &a = before.weights[w].tensor, &b = after.weights[w].tensor;
      const bool trained =
          before.name.find("lora") != std::string::npos || before.name == "classifier";
      EXPECT_EQ(b.SameAs(a), !trained) << before.weights[w].name;
      if (trained) {
        EXPECT_NE(b.ToFloats(), a.ToFloats()) << before.weights[w].name;
        own += a.elements();
      }
    }
  }
  EXPECT_GT(own, 0u);
  // Taken out, the base is there to the bit.
  const Graph base = *RemoveLora(run.result.graph);
  const Graph original = SmallBert();
  ASSERT_EQ(base.nodes.size(), original.nodes.size());
  for (size_t n = 0; n < base.nodes.size(); ++n) {
    ASSERT_EQ(base.nodes[n].name, original.nodes[n].name);
    if (base.nodes[n].name == "classifier") continue;
    for (size_t w = 0; w < base.nodes[n].weights.size(); ++w) {
      EXPECT_EQ(base.nodes[n].weights[w].tensor.ToFloats(),
                original.nodes[n].weights[w].tensor.ToFloats());
    }
  }
}

TEST(Trainer, LearnsMoreWithAnAdapterThanWithAHead) {
  const AdapterRun head = RunAdapter(0), adapter = RunAdapter(4);
  EXPECT_NEAR(adapter.recorder.losses.front(), head.recorder.losses.front(), 0.2);
  const auto at_the_end = [](const AdapterRun& run) {
    const std::vector<double>& losses = run.recorder.losses;
    return std::accumulate(losses.end() - 6, losses.end(), 0.0) / 6;
  };
  EXPECT_LT(at_the_end(adapter), 0.8 * at_the_end(head));
}

TEST(Trainer, MultipliesTheRateOfAWeight) {
  const auto is_up = [](std::string_view name) { return name.ends_with(".lora_B.weight"); };
  const AdapterRun still =
      RunAdapter(4, [&](std::string_view name, double) { return is_up(name) ? 0.0 : 1.0; });
  const AdapterRun moves =
      RunAdapter(4, [&](std::string_view name, double) { return is_up(name) ? 2.0 : 1.0; });
  for (const LoraBranch& branch : FindLora(still.graph)) {
    const auto largest = [&](const AdapterRun& run) {
      float most = 0;
      for (const float b : run.result.graph.nodes[branch.up].weights[0].tensor.floats()) {
        most = std::max(most, std::abs(b));
      }
      return most;
    };
    EXPECT_EQ(largest(still), 0);
    EXPECT_GT(largest(moves), 0);
  }
}

TEST(Trainer, RefusesAnEmptyTrainingSet) {
  const Graph graph = SmallBert();
  const auto objective = *TaskObjective(graph, Task::kSingleLabel);
  Recorder recorder;
  EXPECT_EQ(Train(graph, *objective, {}, {}, nullptr, recorder).error().code(),
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace thimble::train
