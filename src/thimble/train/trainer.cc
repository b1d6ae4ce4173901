#include "thimble/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "thimble/base/file.h"
#include "thimble/train/checkpoint.h"
#include "thimble/train/kernels/kernels.h"

namespace thimble::train {
namespace {

using Clock = std::chrono::steady_clock;

// So many updates in a row without a finite gradient, and the run has failed.
constexpr int64_t kMostSkipped = 20;

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

struct Progress {
  int64_t step = 0;   // updates tried
  int64_t batch = 0;  // batches used, over all epochs
  int64_t skipped = 0, skipped_in_row = 0;
  double tokens = 0, seconds = 0;
  // Of the evaluations.
  double next_evaluation = 0;  // epochs
  double best_score = 0;
  int64_t best_step = -1;  // -1: none yet
  int64_t since_best = 0;
};

class Trainer {
 public:
  Trainer(const Graph& graph, const Objective& objective,
          const std::vector<TrainingExample>& examples, const TrainerOptions& options,
          const Evaluator& evaluator, TrainingObserver& observer, Collective& collective)
      : graph_(graph),
        objective_(objective),
        examples_(examples),
        options_(options),
        evaluator_(evaluator),
        observer_(observer),
        collective_(collective),
        parameters_(ParameterSet::Create(graph, {.device = options.executor.device,
                                                 .trainable = options.trainable,
                                                 .rate_factor = options.rate_factor})),
        optimizer_(parameters_, options.optimizer),
        pool_(options.threads) {
    for (const TrainingExample& e : examples) {
      lengths_.push_back(static_cast<uint32_t>(e.ids.size()));
    }
    for (int t = 0; t < options.threads; ++t) {
      gradients_.push_back(at::zeros_like(parameters_.values()));
    }
  }

  Result<TrainingResult> Run() {
    TRY(const Executor executor, Executor::Create(graph_, parameters_, options_.executor));
    executor_ = &executor;
    progress_.next_evaluation = options_.evaluate_every;
    if (options_.resume && FileExists(options_.checkpoint)) TRY_VOID(Resume());
    start_ = Clock::now() - std::chrono::duration_cast<Clock::duration>(
                                std::chrono::duration<double>(progress_.seconds));
    last_checkpoint_ = Clock::now();
    while (!Done()) {
      TRY_VOID(Update());
      TRY_VOID(EvaluateIfDue());
      TRY_VOID(CheckpointIfDue());
    }
    return Finish();
  }

 private:
  bool IsMain() const { return collective_.rank() == 0; }
  double Elapsed() const { return Seconds(Clock::now() - start_); }

  // --- Where the run stands

  int64_t BatchesPerEpoch() {
    if (batches_per_epoch_ == 0) {
      batches_per_epoch_ = static_cast<int64_t>(EpochBatches(lengths_, 0, BatchesOf()).size());
    }
    return batches_per_epoch_;
  }
  BatchOptions BatchesOf() const {
    BatchOptions batches = options_.batches;
    batches.seed = options_.seed;
    return batches;
  }
  double Epoch() {
    return static_cast<double>(progress_.batch) / static_cast<double>(BatchesPerEpoch());
  }

  // Steps of the whole run as far as they are known.
  int64_t TotalSteps() {
    const double batches = options_.epochs * static_cast<double>(BatchesPerEpoch());
    auto steps =
        static_cast<int64_t>(std::ceil(batches / static_cast<double>(options_.accumulate)));
    if (options_.max_steps > 0) steps = std::min(steps, options_.max_steps);
    return std::max<int64_t>(1, steps);
  }

  // Share of the run that is done, by steps or by the clock, whichever ends it first.
  double Share() {
    double share = static_cast<double>(progress_.step) / static_cast<double>(TotalSteps());
    if (options_.max_seconds > 0) share = std::max(share, Elapsed() / options_.max_seconds);
    return share;
  }

  bool Done() { return stopped_early_ || Share() >= 1; }

  double Rate() {
    Schedule schedule = options_.schedule;
    schedule.total_steps = TotalSteps();
    if (schedule.warmup_steps == 0) {
      schedule.warmup_steps =
          std::llround(options_.warmup_share * static_cast<double>(schedule.total_steps));
    }
    // Under a time limit the clock stands in for the steps.
    const auto by_share = static_cast<int64_t>(Share() * static_cast<double>(schedule.total_steps));
    return options_.rate * RateAt(schedule, std::max(progress_.step, by_share) + 1);
  }

  // --- One update

  std::span<const uint32_t> NextBatch() {
    const int64_t epoch = progress_.batch / BatchesPerEpoch();
    if (epoch != epoch_) {
      epoch_batches_ = EpochBatches(lengths_, epoch, BatchesOf());
      epoch_ = epoch;
    }
    // Bucketing may give a batch more or less than the first epoch has.
    const auto index = static_cast<size_t>(progress_.batch % BatchesPerEpoch());
    ++progress_.batch;
    return epoch_batches_[std::min(index, epoch_batches_.size() - 1)];
  }

  uint32_t StepKey(int64_t accumulated) const {
    const auto seed = static_cast<uint32_t>(options_.seed ^ (options_.seed >> 32));
    return MixKeys(MixKeys(seed, static_cast<uint32_t>(progress_.step)),
                   static_cast<uint32_t>(accumulated));
  }

  struct Shard {
    std::vector<TrainingBatch> batches;  // one per accumulated batch
    std::vector<uint32_t> keys;
  };

  // The shards of this rank, one per thread.
  std::vector<Shard> PrepareShards() {
    const auto threads = static_cast<size_t>(options_.threads);
    const auto ranks = static_cast<size_t>(collective_.size());
    std::vector<Shard> shards(threads);
    for (int64_t a = 0; a < options_.accumulate; ++a) {
      const auto parts = SplitBatch(NextBatch(), lengths_, threads * ranks);
      for (size_t t = 0; t < threads; ++t) {
        std::vector<const TrainingExample*> examples;
        for (const uint32_t i : parts[static_cast<size_t>(collective_.rank()) * threads + t]) {
          examples.push_back(&examples_[i]);
        }
        if (examples.empty()) continue;
        shards[t].keys.push_back(StepKey(a));
        shards[t].batches.push_back(objective_.Prepare(examples, StepKey(a)));
      }
    }
    return shards;
  }

  // Adds the gradients of a shard to `gradients`; returns the loss as a share of the global batch.
  Result<double> RunShard(const Shard& shard, double total_weight, at::Tensor gradients) const {
    double loss_sum = 0;
    const std::vector<ValueId> wanted = objective_.Values();
    for (size_t b = 0; b < shard.batches.size(); ++b) {
      const TrainingBatch& batch = shard.batches[b];
      TRY(const std::vector<at::Tensor> values,
          executor_->Run(batch.tokens, wanted,
                         {.gradients = gradients,
                          .step_key = shard.keys[b],
                          .sequence_keys = batch.sequence_keys,
                          .logit_rows = batch.logit_rows}));
      try {
        const at::Tensor loss = objective_.Loss(batch, values) / total_weight;
        loss.backward();
        loss_sum += loss.item<double>();
      } catch (const c10::Error& error) {
        return ResourceExhausted("libtorch: " + std::string(error.what_without_backtrace()));
      }
    }
    return loss_sum;
  }

  Status Update() {
    const auto begin = Clock::now();
    const double rate = Rate();
    const std::vector<Shard> shards = PrepareShards();
    double totals[3] = {0, 0, 0};  // weight, tokens; then loss
    for (const Shard& shard : shards) {
      for (const TrainingBatch& batch : shard.batches) {
        totals[0] += objective_.Weight(batch);
        totals[1] += static_cast<double>(batch.tokens.tokens());
      }
    }
    TRY_VOID(collective_.Sum(std::span(totals, 2)));
    const double weight = std::max(totals[0], 1e-12);

    std::vector<Result<double>> losses(shards.size(), Result<double>(0.0));
    pool_.ParallelFor(shards.size(), [&](size_t t, size_t) {
      losses[t] = RunShard(shards[t], weight, gradients_[t]);
    });
    for (Result<double>& loss : losses) {
      if (!loss.has_value()) return std::move(loss).error();
      totals[2] += *loss;
    }
    TRY_VOID(ReduceGradients());
    TRY_VOID(collective_.Sum(std::span(totals + 2, 1)));
    const double norm = optimizer_.GradientNorm(gradients_[0], pool_);
    const bool finite = std::isfinite(norm) && std::isfinite(totals[2]);
    ++progress_.step;
    if (finite) {
      optimizer_.Step(gradients_[0], rate, norm, pool_);
      progress_.skipped_in_row = 0;
    } else {
      ++progress_.skipped;
      if (++progress_.skipped_in_row > kMostSkipped) {
        return InvalidData("the loss was not a number in " + std::to_string(kMostSkipped) +
                           " steps in a row, up to step " + std::to_string(progress_.step) +
                           "; try a lower --lr, a longer --warmup or a smaller --clip" +
                           (options_.checkpoint.empty()
                                ? ""
                                : " (the last checkpoint is kept: " + options_.checkpoint + ")"));
      }
    }
    gradients_[0].zero_();
    progress_.tokens += totals[1];
    progress_.seconds = Elapsed();
    const double share = Share();
    return observer_.OnStep(
        {.step = progress_.step,
         .total_steps = share >= 1 ? progress_.step
                                   : std::llround(static_cast<double>(progress_.step) / share),
         .epoch = Epoch(),
         .loss = totals[2],
         .rate = rate,
         .gradient_norm = norm,
         .tokens = totals[1],
         .seconds = Seconds(Clock::now() - begin),
         .elapsed = progress_.seconds,
         .remaining = share > 0 ? progress_.seconds * (1 - share) / share : 0,
         .skipped = !finite});
  }

  // The sum over threads and ranks, in gradients_[0]; the other buffers are zero again.
  Status ReduceGradients() {
    if (gradients_.size() > 1) {
      const auto count = static_cast<size_t>(gradients_[0].numel());
      constexpr size_t kChunk = size_t{1} << 16;
      float* sum = gradients_[0].data_ptr<float>();
      pool_.ParallelFor((count + kChunk - 1) / kChunk, [&](size_t i, size_t) {
        const size_t first = i * kChunk, n = std::min(kChunk, count - first);
        for (size_t t = 1; t < gradients_.size(); ++t) {
          float* other = gradients_[t].data_ptr<float>() + first;
          BestTrainKernels().add_scaled(other, 1.0f, sum + first, n);
          std::fill(other, other + n, 0.0f);
        }
      });
    }
    return collective_.size() > 1 ? collective_.Sum(gradients_[0]) : Status();
  }

  // --- Evaluation

  Status EvaluateIfDue() {
    if (!evaluator_) return {};
    const bool last = Done();
    if (!last && Epoch() + 1e-9 < progress_.next_evaluation) return {};
    while (progress_.next_evaluation <= Epoch() + 1e-9) {
      progress_.next_evaluation += options_.evaluate_every;
    }
    TRY(Evaluation evaluation, evaluator_(parameters_.ToGraph(graph_, optimizer_.Evaluated())));
    const bool best = progress_.best_step < 0 || evaluation.score > progress_.best_score;
    if (best) {
      progress_.best_score = evaluation.score;
      progress_.best_step = progress_.step;
      progress_.since_best = 0;
      best_weights_ = optimizer_.Evaluated().clone();
      best_ = evaluation;
    } else if (options_.patience > 0 && ++progress_.since_best >= options_.patience && !last) {
      stopped_early_ = true;
    }
    return observer_.OnEvaluation(evaluation, progress_.step, Epoch(), best);
  }

  // --- Checkpoints

  Status CheckpointIfDue() {
    const Status interrupted = observer_.CheckInterrupt();
    const bool due = Seconds(Clock::now() - last_checkpoint_) >= options_.checkpoint_seconds;
    if (!options_.checkpoint.empty() && IsMain() && (due || !interrupted.has_value())) {
      TRY_VOID(Save());
      last_checkpoint_ = Clock::now();
    }
    return interrupted;
  }

  std::string Fingerprint() const {
    return options_.fingerprint + " threads=" + std::to_string(options_.threads) +
           " ranks=" + std::to_string(collective_.size()) +
           " seed=" + std::to_string(options_.seed) +
           " floats=" + std::to_string(parameters_.values().numel());
  }

  Status Save() {
    Checkpoint c;
    TRY(c.fields["observer"], observer_.Save());
    c.fields["fingerprint"] = Fingerprint();
    c.fields["step"] = ToField(progress_.step);
    c.fields["updates"] = ToField(optimizer_.state().step);
    c.fields["batch"] = ToField(progress_.batch);
    c.fields["skipped"] = ToField(progress_.skipped);
    c.fields["skipped_in_row"] = ToField(progress_.skipped_in_row);
    c.fields["tokens"] = ToField(progress_.tokens);
    c.fields["seconds"] = ToField(progress_.seconds);
    c.fields["next_evaluation"] = ToField(progress_.next_evaluation);
    c.fields["best_score"] = ToField(progress_.best_score);
    c.fields["best_step"] = ToField(progress_.best_step);
    c.fields["since_best"] = ToField(progress_.since_best);
    if (best_.has_value()) {
      for (const auto& [name, value] : best_->metrics) c.fields["best." + name] = ToField(value);
    }
    c.tensors["values"] = parameters_.values();
    c.tensors["first"] = optimizer_.state().first;
    c.tensors["second"] = optimizer_.state().second;
    if (optimizer_.state().average.defined()) c.tensors["average"] = optimizer_.state().average;
    if (best_weights_.defined()) c.tensors["best"] = best_weights_;
    return WriteCheckpoint(options_.checkpoint, c);
  }

  Status Resume() {
    TRY(const Checkpoint c, ReadCheckpoint(options_.checkpoint));
    if (Status s = Restore(c); !s.has_value()) return Error(s.error()).In(options_.checkpoint);
    return observer_.OnResume(c.fields.count("observer") ? c.fields.at("observer") : "",
                              progress_.step);
  }

  Status Restore(const Checkpoint& c) {
    const auto fingerprint = c.fields.find("fingerprint");
    if (fingerprint == c.fields.end())
      return InvalidData("it is not a checkpoint of a training run");
    if (fingerprint->second != Fingerprint()) {
      return InvalidArgument(
          "it belongs to another run (data, options, threads or architecture "
          "differ); give the same call, or start anew without --resume");
    }
    TRY(progress_.step, IntegerField(c, "step"));
    TRY(optimizer_.state().step, IntegerField(c, "updates"));
    TRY(progress_.batch, IntegerField(c, "batch"));
    TRY(progress_.skipped, IntegerField(c, "skipped"));
    TRY(progress_.skipped_in_row, IntegerField(c, "skipped_in_row"));
    TRY(progress_.tokens, DoubleField(c, "tokens"));
    TRY(progress_.seconds, DoubleField(c, "seconds"));
    TRY(progress_.next_evaluation, DoubleField(c, "next_evaluation"));
    TRY(progress_.best_score, DoubleField(c, "best_score"));
    TRY(progress_.best_step, IntegerField(c, "best_step"));
    TRY(progress_.since_best, IntegerField(c, "since_best"));
    const auto restore = [&](const std::string& name, at::Tensor& into) -> Status {
      const auto found = c.tensors.find(name);
      if (found == c.tensors.end() || found->second.numel() != parameters_.values().numel()) {
        return InvalidData("its tensor '" + name + "' is missing or of another size");
      }
      if (!into.defined()) into = at::empty_like(parameters_.values());
      into.copy_(found->second);
      return {};
    };
    TRY_VOID(restore("values", parameters_.values()));
    TRY_VOID(restore("first", optimizer_.state().first));
    TRY_VOID(restore("second", optimizer_.state().second));
    if (optimizer_.state().average.defined())
      TRY_VOID(restore("average", optimizer_.state().average));
    if (progress_.best_step >= 0) {
      TRY_VOID(restore("best", best_weights_));
      best_.emplace().score = progress_.best_score;
      for (const auto& [name, text] : c.fields) {
        if (!name.starts_with("best.")) continue;
        TRY(const double value, DoubleField(c, name));
        best_->metrics.emplace_back(name.substr(5), value);
      }
    }
    return {};
  }

  TrainingResult Finish() {
    TrainingResult result;
    result.graph = parameters_.ToGraph(
        graph_, best_weights_.defined() ? best_weights_ : optimizer_.Evaluated());
    result.best = best_;
    result.best_step = progress_.best_step < 0 ? progress_.step : progress_.best_step;
    result.steps = progress_.step;
    result.skipped_steps = progress_.skipped;
    result.epochs = Epoch();
    result.seconds = Elapsed();
    result.tokens = progress_.tokens;
    result.stopped_early = stopped_early_;
    return result;
  }

  const Graph& graph_;
  const Objective& objective_;
  const std::vector<TrainingExample>& examples_;
  const TrainerOptions& options_;
  const Evaluator& evaluator_;
  TrainingObserver& observer_;
  Collective& collective_;
  ParameterSet parameters_;
  Optimizer optimizer_;
  ThreadPool pool_;
  const Executor* executor_ = nullptr;
  std::vector<uint32_t> lengths_;      // tokens per example
  std::vector<at::Tensor> gradients_;  // per thread, zero between updates
  Progress progress_;
  std::vector<std::vector<uint32_t>> epoch_batches_;
  int64_t epoch_ = -1, batches_per_epoch_ = 0;
  at::Tensor best_weights_;
  std::optional<Evaluation> best_;
  bool stopped_early_ = false;
  Clock::time_point start_, last_checkpoint_;
};

Status Check(const std::vector<TrainingExample>& examples, const TrainerOptions& options) {
  if (examples.empty()) return InvalidArgument("there is nothing to train on");
  if (options.threads < 1) return InvalidArgument("at least one thread is needed");
  if (options.accumulate < 1) return InvalidArgument("--accumulate must be at least 1");
  if (!(options.epochs > 0)) return InvalidArgument("--epochs must be above 0");
  if (!(options.rate > 0)) return InvalidArgument("--lr must be above 0");
  if (!(options.evaluate_every > 0)) return InvalidArgument("--eval-every must be above 0");
  return {};
}

class OneProcess : public Collective {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Status Sum(at::Tensor&) override { return {}; }
  Status Sum(std::span<double>) override { return {}; }
};

}  // namespace

std::unique_ptr<Collective> SingleProcess() { return std::make_unique<OneProcess>(); }

Result<TrainingResult> Train(const Graph& graph, const Objective& objective,
                             const std::vector<TrainingExample>& examples,
                             const TrainerOptions& options, const Evaluator& evaluator,
                             TrainingObserver& observer, Collective* collective) {
  TRY_VOID(Check(examples, options));
  const std::unique_ptr<Collective> single = SingleProcess();
  return Trainer(graph, objective, examples, options, evaluator, observer,
                 collective != nullptr ? *collective : *single)
      .Run();
}

}  // namespace thimble::train
