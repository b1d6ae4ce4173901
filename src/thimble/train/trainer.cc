#include "thimble/train/trainer.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <deque>
#include <numeric>
#include <type_traits>

#include "thimble/base/file.h"
#include "thimble/train/checkpoint.h"
#include "thimble/train/kernels/kernels.h"

namespace thimble::train {
namespace {

using Clock = std::chrono::steady_clock;

// So many updates in a row without a finite gradient, and the run has failed.
constexpr int64_t kMostSkipped = 20;

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// The same on all ranks.
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
static_assert(std::is_trivially_copyable_v<Progress>);  // sent as it is

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
        parameters_(ParameterSet::Create(graph, ParametersOf(options))),
        used_(parameters_),
        optimizer_(parameters_, options.optimizer),
        pool_(options.threads) {
    for (const TrainingExample& e : examples) {
      lengths_.push_back(static_cast<uint32_t>(e.ids.size()));
    }
    if (options.reparameterization != nullptr) used_.values() = parameters_.values().clone();
    for (int t = 0; t < options.threads; ++t) {
      gradients_.push_back(at::zeros_like(parameters_.values()));
    }
  }

  Result<TrainingResult> Run() {
    TRY(const Executor executor, Executor::Create(graph_, used_, options_.executor));
    executor_ = &executor;
    progress_.next_evaluation = options_.evaluate_every;
    TRY_VOID(Begin());
    clock_ = progress_.seconds;
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
  static ParameterOptions ParametersOf(const TrainerOptions& options) {
    ParameterOptions parameters{
        .device = options.executor.device, .trainable = options.trainable, .extra = {}};
    if (options.reparameterization != nullptr) {
      parameters.extra = options.reparameterization->Extra();
    }
    return parameters;
  }

  // What the graph is computed with where `values` is what was trained.
  at::Tensor Used(const at::Tensor& values, double progress) const {
    if (options_.reparameterization == nullptr) return values;
    at::Tensor used = at::empty_like(values);
    options_.reparameterization->Use(parameters_, values, progress, used);
    return used;
  }

  bool IsMain() const { return collective_.rank() == 0; }
  double Elapsed() const { return Seconds(Clock::now() - start_); }
  size_t Threads() const { return static_cast<size_t>(options_.threads); }
  size_t Ranks() const { return static_cast<size_t>(collective_.size()); }

  // --- The other ranks

  // An error of the others, and what is left to do.
  Status OrResume(Status status) const {
    if (status.has_value() || options_.checkpoint.empty()) return status;
    return IoError(status.error().message() +
                   (FileExists(options_.checkpoint)
                        ? "; the last checkpoint is kept: " + options_.checkpoint +
                              ", start again with --resume"
                        : "; " + options_.checkpoint + " is not there yet, start again"));
  }
  Status Sum(std::span<double> values) { return OrResume(collective_.Sum(values)); }
  template <class T>
  Status Broadcast(T& value) {
    return OrResume(collective_.Broadcast(std::as_writable_bytes(std::span(&value, 1))));
  }
  Status BroadcastTensor(at::Tensor values) {
    const at::Tensor sent = values.cpu().contiguous();
    const std::span<float> floats(sent.data_ptr<float>(), static_cast<size_t>(sent.numel()));
    TRY_VOID(OrResume(collective_.Broadcast(std::as_writable_bytes(floats))));
    if (!sent.is_alias_of(values)) values.copy_(sent);
    return {};
  }
  Status Agree(std::span<const std::byte> bytes, const std::string& otherwise) {
    Result<std::optional<int>> differs = FirstToDiffer(collective_, bytes);
    if (!differs.has_value()) return OrResume(std::move(differs).error());
    if (!differs->has_value()) return {};
    return InvalidData("rank " + std::to_string(**differs) + " of " +
                       std::to_string(collective_.size()) + " " + otherwise);
  }

  // What ranks must have in common besides what a checkpoint must agree with.
  std::string Agreed() const {
    return Fingerprint() + " threads=" + std::to_string(options_.threads) +
           " evaluate_every=" + ToField(options_.evaluate_every) +
           " patience=" + std::to_string(options_.patience) +
           " evaluates=" + std::to_string(static_cast<bool>(evaluator_));
  }

  // All ranks start from what rank 0 has, read from the checkpoint or new.
  Status Begin() {
    TRY_VOID(OrResume(collective_.Barrier()));
    const std::string agreed = Agreed();
    TRY_VOID(Agree(std::as_bytes(std::span(agreed)),
                   "has other data, options, threads or another architecture than rank 0; start "
                   "all with the same call and the same files"));
    if (IsMain() && options_.resume && FileExists(options_.checkpoint)) TRY_VOID(Resume());
    if (Ranks() == 1) return {};
    TRY_VOID(Broadcast(progress_));
    TRY_VOID(Broadcast(optimizer_.state().step));
    for (size_t p = 0; p < parameters_.parameters().size(); ++p) {
      if (!parameters_.parameters()[p].trainable) TRY_VOID(BroadcastTensor(parameters_.View(p)));
    }
    TRY_VOID(BroadcastTensor(parameters_.values()));
    if (optimizer_.state().average.defined()) {
      TRY_VOID(BroadcastTensor(optimizer_.state().average));
    }
    if (progress_.step == 0) return {};
    TRY_VOID(BroadcastTensor(optimizer_.state().first));
    return BroadcastTensor(optimizer_.state().second);
  }

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

  // Share of the run that is done, by steps or by rank 0's clock, whichever ends it first.
  double Share() {
    double share = static_cast<double>(progress_.step) / static_cast<double>(TotalSteps());
    if (options_.max_seconds > 0) share = std::max(share, clock_ / options_.max_seconds);
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
    std::vector<TrainingBatch> batches;     // one per accumulated batch
    std::deque<TrainingExample> augmented;  // what they point to
    std::vector<uint32_t> keys;
  };

  // Of this rank, among those of all.
  size_t FirstShard() const { return static_cast<size_t>(collective_.rank()) * Threads(); }

  // The shards of this rank, one per thread.
  std::vector<Shard> PrepareShards(double progress) {
    std::vector<Shard> shards(Threads());
    for (int64_t a = 0; a < options_.accumulate; ++a) {
      const auto parts = SplitBatch(NextBatch(), lengths_, Threads() * Ranks());
      for (size_t t = 0; t < shards.size(); ++t) {
        std::vector<const TrainingExample*> examples;
        for (const uint32_t i : parts[FirstShard() + t]) {
          const TrainingExample* example = &examples_[i];
          if (options_.augment) {
            example = &shards[t].augmented.emplace_back(options_.augment(*example, StepKey(a)));
          }
          examples.push_back(example);
        }
        if (examples.empty()) continue;
        shards[t].keys.push_back(StepKey(a));
        shards[t].batches.push_back(objective_.Prepare(examples, StepKey(a)));
        shards[t].batches.back().progress = progress;
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

  // What rank 0 decides for all, and how many have seen a Ctrl-C.
  enum Verdict : uint8_t { kNorm, kClock, kInterrupts, kVerdicts };

  // A Ctrl-C that any rank has seen is one for all.
  void Interrupt() {
    if (!interrupted_.has_value()) return;
    interrupted_ = Error(ErrorCode::kInterrupted,
                         "another rank was interrupted; the same call with --resume goes on from "
                         "the checkpoint");
  }

  Status Update() {
    const auto begin = Clock::now();
    const double rate = Rate(), progress = Share();
    if (options_.rate_factor) {
      for (Parameter& p : parameters_.parameters()) {
        p.rate_factor = options_.rate_factor(p.name, progress);
      }
    }
    const Reparameterization* reparameterization = options_.reparameterization;
    if (reparameterization != nullptr) {
      reparameterization->Use(parameters_, parameters_.values(), progress, used_.values());
    }
    const std::vector<Shard> shards = PrepareShards(progress);
    // Every shard has a place of its own, so that sums over ranks only fill gaps and what is added up from them
    // does not depend on the division among ranks.
    const size_t count = Threads() * Ranks();
    std::vector<double> sizes(2 * count, 0.0);  // weights, then tokens
    for (size_t t = 0; t < shards.size(); ++t) {
      for (const TrainingBatch& batch : shards[t].batches) {
        sizes[FirstShard() + t] += objective_.Weight(batch);
        sizes[count + FirstShard() + t] += static_cast<double>(batch.tokens.tokens());
      }
    }
    TRY_VOID(Sum(std::span(sizes)));
    const auto middle = sizes.begin() + static_cast<int64_t>(count);
    const double weight = std::max(std::accumulate(sizes.begin(), middle, 0.0), 1e-12);
    const double tokens = std::accumulate(middle, sizes.end(), 0.0);

    std::vector<Result<double>> losses(shards.size(), Result<double>(0.0));
    pool_.ParallelFor(shards.size(), [&](size_t t, size_t) {
      losses[t] = RunShard(shards[t], weight, gradients_[t]);
    });
    std::vector<double> outcome(count + kVerdicts, 0.0);
    for (size_t t = 0; t < shards.size(); ++t) {
      if (!losses[t].has_value()) return std::move(losses[t]).error();
      outcome[FirstShard() + t] = *losses[t];
    }
    const auto exchange_begin = Clock::now();
    TRY_VOID(ReduceGradients());
    const double exchange = Seconds(Clock::now() - exchange_begin);
    double penalty = 0;
    if (reparameterization != nullptr) {
      penalty =
          reparameterization->Pull(parameters_, parameters_.values(), progress, gradients_[0]);
    }
    // Processors may round a norm differently; ranks must not.
    interrupted_ = observer_.CheckInterrupt();
    double* verdicts = outcome.data() + count;
    if (IsMain()) verdicts[kNorm] = optimizer_.GradientNorm(gradients_[0], pool_);
    if (IsMain()) verdicts[kClock] = Elapsed();
    verdicts[kInterrupts] = interrupted_.has_value() ? 0 : 1;
    TRY_VOID(Sum(std::span(outcome)));
    const double loss = std::accumulate(outcome.data(), verdicts, penalty);
    const double norm = verdicts[kNorm];
    clock_ = verdicts[kClock];
    if (verdicts[kInterrupts] > 0) Interrupt();
    const bool finite = std::isfinite(norm) && std::isfinite(loss);
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
    progress_.tokens += tokens;
    progress_.seconds = Elapsed();
    const double share = Share();
    return observer_.OnStep(
        {.step = progress_.step,
         .total_steps = share >= 1 ? progress_.step
                                   : std::llround(static_cast<double>(progress_.step) / share),
         .epoch = Epoch(),
         .loss = loss,
         .rate = rate,
         .gradient_norm = norm,
         .tokens = tokens,
         .seconds = Seconds(Clock::now() - begin),
         .exchange_seconds = exchange,
         .elapsed = progress_.seconds,
         .remaining = share > 0 ? progress_.seconds * (1 - share) / share : 0,
         .skipped = !finite});
  }

  // The sum over threads and ranks, in gradients_[0]; the other buffers are zero again.
  Status ReduceGradients() {
    if (gradients_.size() > 1) {
      const auto count = static_cast<size_t>(gradients_[0].numel());
      constexpr size_t kChunk = size_t{1} << 16;
      pool_.ParallelFor((count + kChunk - 1) / kChunk, [&](size_t c, size_t) {
        const size_t first = c * kChunk, n = std::min(kChunk, count - first);
        const auto chunk = [&](size_t t) { return gradients_[t].data_ptr<float>() + first; };
        PairwiseOrder(gradients_.size(), [&](size_t i, size_t j) {
          BestTrainKernels().add_scaled(chunk(j), 1.0f, chunk(i), n);
          std::fill(chunk(j), chunk(j) + n, 0.0f);
        });
      });
    }
    return OrResume(collective_.Sum(gradients_[0]));
  }

  // --- Evaluation

  Status EvaluateIfDue() {
    if (!evaluator_) return {};
    const bool last = Done();
    if (!last && Epoch() + 1e-9 < progress_.next_evaluation) return {};
    while (progress_.next_evaluation <= Epoch() + 1e-9) {
      progress_.next_evaluation += options_.evaluate_every;
    }
    const at::Tensor& weights = optimizer_.Evaluated();
    if (Ranks() > 1) {
      const at::Tensor here = weights.cpu();
      TRY_VOID(
          Agree(std::as_bytes(std::span(here.data_ptr<float>(), static_cast<size_t>(here.numel()))),
                "has come to other weights than rank 0 (is its processor or libtorch another?)"));
    }
    // Rank 0 runs the model; the others are told.
    Evaluation evaluation;
    double told[] = {0, 0, 0};  // score, rank 0's clock, interrupts
    if (IsMain()) {
      TRY(evaluation, evaluator_(parameters_.ToGraph(graph_, Used(weights, Share()))));
      if (interrupted_.has_value()) interrupted_ = observer_.CheckInterrupt();
      told[0] = evaluation.score;
      told[1] = Elapsed();
      told[2] = interrupted_.has_value() ? 0 : 1;
    }
    TRY_VOID(Broadcast(told));
    evaluation.score = told[0];
    clock_ = told[1];
    if (told[2] > 0) Interrupt();
    const bool settled =
        options_.reparameterization == nullptr || options_.reparameterization->Settled(Share());
    const bool best =
        settled && (progress_.best_step < 0 || evaluation.score > progress_.best_score);
    if (best) {
      progress_.best_score = evaluation.score;
      progress_.best_step = progress_.step;
      progress_.since_best = 0;
      if (IsMain()) best_weights_ = weights.clone();
      best_ = evaluation;
    } else if (settled && options_.patience > 0 && ++progress_.since_best >= options_.patience &&
               !last) {
      stopped_early_ = true;
    }
    return observer_.OnEvaluation(evaluation, progress_.step, Epoch(), best);
  }

  // --- Checkpoints

  Status CheckpointIfDue() {
    const bool due = Seconds(Clock::now() - last_checkpoint_) >= options_.checkpoint_seconds;
    const bool interrupted = !interrupted_.has_value();
    if (!options_.checkpoint.empty() && IsMain() && (due || interrupted)) {
      TRY_VOID(Save());
      last_checkpoint_ = Clock::now();
    }
    // Launchers end the others when one rank goes: none goes before the checkpoint is written.
    if (interrupted) TRY_VOID(OrResume(collective_.Barrier()));
    return interrupted_;
  }

  std::string Fingerprint() const {
    // How shards divide among ranks changes nothing while each adds a power of two of them (PairwiseOrder).
    const size_t together = Ranks() == 1 || std::has_single_bit(Threads()) ? 1 : Threads();
    return options_.fingerprint + " shards=" + std::to_string(Threads() * Ranks()) +
           " added_together=" + std::to_string(together) +
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
        graph_, Used(best_weights_.defined() ? best_weights_ : optimizer_.Evaluated(), 1));
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
  // What the executor reads; without a reparameterization the same buffers.
  ParameterSet used_;
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
  Status interrupted_;  // an error once any rank has seen a Ctrl-C
  double clock_ = 0;    // Elapsed() of rank 0 when it was last told
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

}  // namespace

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
