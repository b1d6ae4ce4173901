#include "thimble/cli/training_run.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "thimble/base/file.h"
#include "thimble/base/format.h"
#include "thimble/base/sha256.h"
#include "thimble/cli/console.h"
#include "thimble/cli/ranks.h"
#include "thimble/cli/training_console.h"
#include "thimble/cli/training_data.h"
#include "thimble/cli/weights.h"
#include "thimble/compress/quantized_training.h"
#include "thimble/evaluation/predict_dataset.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/metrics/metrics.h"
#include "thimble/metrics/thresholds.h"
#include "thimble/passes/lora.h"
#include "thimble/passes/replace_head.h"
#include "thimble/train/class_weights.h"
#include "thimble/train/examples.h"

namespace thimble::cli {
namespace {

using nlohmann::json;
using namespace thimble::train;  // NOLINT: the verb is made of it

// "0:3,1:7": student:teacher.
Result<std::vector<std::pair<int, int>>> ParseLayerMap(const std::string& text) {
  std::vector<std::pair<int, int>> pairs;
  const char* p = text.data();
  const char* end = p + text.size();
  while (p < end) {
    std::pair<int, int> pair;
    const auto first = std::from_chars(p, end, pair.first);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != ':') break;
    const auto second = std::from_chars(first.ptr + 1, end, pair.second);
    if (second.ec != std::errc()) break;
    pairs.push_back(pair);
    p = second.ptr;
    if (p < end && *p == ',')
      ++p;
    else if (p < end)
      break;
  }
  if (p != end)
    return InvalidArgument("--layer-map " + text + ": it is like 0:3,1:7 (student:teacher)");
  return pairs;
}

// A name for a model's weights: the hash of its file.
Result<std::string> ModelKey(const Model& model) {
  TRY(const std::string bytes, SerializeThimble(model));
  Sha256 hash;
  hash.Update(std::as_bytes(std::span(bytes)));
  return std::move(hash).HexDigest();
}

// Ids that stand for no text.
std::vector<int32_t> SpecialIds(const TokenizerSpec& t) {
  return {t.cls_id, t.sep_id, t.pad_id, t.mask_id};
}

// Else whole texts alone.
bool ComparesTokens(const DistillOptions& d) {
  return d.hidden > 0 || d.attention > 0 || d.scores > 0 || d.values > 0;
}

json MetricsJson(const TaskMetrics& metrics) {
  json all = json::object();
  for (const Metric& m : metrics.metrics) all[m.name] = m.value;
  return all;
}

// Of ranks other than 0.
class Follower : public TrainingObserver {
 public:
  Status CheckInterrupt() override { return cli::CheckInterrupt(); }
};

class Run {
 public:
  Run(TrainingCall call, Collective& ranks) : o_(std::move(call)), ranks_(ranks) {}

  Status Execute() {
    TRY_VOID(CheckCall());
    if (!o_.teacher.empty()) {
      TRY(teacher_, OpenModel(o_.teacher));
      TRY(teacher_key_, ModelKey(teacher_));
    }
    const bool unlabelled = o_.task == "masked_lm" || o_.task == "features";
    if (!unlabelled) {
      TRY(data_,
          ReadTexts(o_, o_.distill.logits > 0 ? teacher_.labels : std::vector<std::string>()));
      o_.start.task = data_.train.task;
      o_.start.labels = data_.train.labels;
      if (o_.start.task == Task::kRegression) o_.start.labels = {"score"};
    } else {
      o_.start.task = *TaskFromName(o_.task);
    }
    o_.start.seed = o_.trainer.seed;
    TRY(Start start, StartFrom(o_.start));
    model_ = std::move(start.model);
    if (o_.adapter_rank.has_value()) TRY_VOID(StartAdapter(std::move(start.stored)));
    TRY(const Tokenizer tokenizer, Tokenizer::Create(model_.tokenizer));
    const auto limit = static_cast<size_t>(model_.graph.max_sequence_length);
    if (o_.max_length == 0 || (limit > 0 && o_.max_length > limit)) o_.max_length = limit;
    TRY(const std::vector<TrainingExample> examples,
        unlabelled ? EncodeCorpus(o_.train, o_.start.task, tokenizer, o_.max_length, data_)
                   : EncodeRows(data_, tokenizer, o_.max_length));
    TRY(std::unique_ptr<Objective> objective, MakeObjective());
    if (o_.token_dropout != 0) {
      if (!o_.teacher.empty() && ComparesTokens(o_.distill)) {
        return InvalidArgument(
            "--token-dropout leaves tokens out that the teacher is compared on; distil logits or "
            "embeddings alone, or leave it out");
      }
      TRY(o_.trainer.augment,
          TokenDropout(o_.token_dropout, SpecialIds(model_.tokenizer), model_.task));
    }
    TRY_VOID(ChoosePrecision());
    TRY_VOID(Fingerprint(examples));

    UsageMeter meter(o_.energy);  // of ranks other than 0; rank 0's is the console's
    std::optional<TrainingConsole> console;
    if (IsMain()) {
      console.emplace(o_.output + ".log.jsonl", o_.trainer.resume, o_.energy);
      TRY_VOID(console->Open());
    }
    Graph graph = model_.graph;
    TRY_VOID(StartMasks());
    if (o_.quantized.has_value()) {
      rounded_.emplace(*o_.quantized);
      o_.trainer.reparameterization = &*rounded_;
    }
    std::optional<TeacherCache> cache;
    if (!o_.teacher.empty()) {
      TRY(const DistillPlan plan, PlanTeacher());
      TRY(cache, OpenCache(plan, tokenizer, examples));
      if (o_.distill.progressive > 0) {
        if (plan.taught.empty()) {
          return InvalidArgument(
              "--progressive teaches block by block, but no loss compares blocks; add "
              "--alpha-hidden, --alpha-attention, --alpha-scores or --alpha-values");
        }
        o_.trainer.rate_factor = [own = o_.trainer.rate_factor,
                                  block = ProgressiveRates(plan, o_.distill)](std::string_view name,
                                                                              double progress) {
          return block(name, progress) * (own ? own(name, progress) : 1.0);
        };
      }
      graph = plan.graph;
      objective = DistillObjective(plan, o_.distill, model_.task, std::move(objective), *cache);
    }
    if (o_.quantized.has_value()) {
      o_.trainer.executor.rounded_rows = compress::RoundedRows(graph, *o_.quantized);
    }
    Evaluator evaluator;
    if (!data_.valid.examples.empty()) {
      evaluator = [this](const Graph& trained) { return Evaluate(trained); };
    }
    Follower follower;
    TrainingObserver& observer = IsMain() ? static_cast<TrainingObserver&>(*console)
                                          : static_cast<TrainingObserver&>(follower);
    TRY(TrainingResult result,
        Train(graph, *objective, examples, o_.trainer, evaluator, observer, &ranks_));
    TRY_VOID(AddUpUsage(meter.Read(), console));
    if (!IsMain()) return {};
    TRY(model_.graph, Stored(result.graph));
    TRY_VOID(CutMasked());
    return Finish(result, *console);
  }

 private:
  bool IsMain() const { return ranks_.rank() == 0; }

  // Rank 0 accounts for all. Counters of energy are a machine's, and rank 0 reads its own.
  Status AddUpUsage(const Usage& usage, std::optional<TrainingConsole>& console) {
    double others[] = {0, 0};
    if (!IsMain()) others[0] = usage.cpu_seconds;
    if (!IsMain() && !usage.measured) others[1] = usage.joules;
    TRY_VOID(ranks_.Sum(others));
    if (IsMain()) {
      // Energy of others is sent only where it is an estimate.
      console->AddUsage(
          {.cpu_seconds = others[0], .joules = others[1], .measured = others[1] == 0});
    }
    return {};
  }

  Status CheckCall() {
    const auto schedule = ScheduleFromName(o_.schedule);
    if (!schedule.has_value()) {
      return InvalidArgument("--schedule " + o_.schedule + ": it is constant, linear or cosine");
    }
    o_.trainer.schedule.kind = *schedule;
    o_.trainer.schedule.warmup_steps = o_.warmup_steps;
    o_.trainer.executor.hidden_dropout = o_.hidden_dropout;
    o_.trainer.executor.attention_dropout = o_.attention_dropout;
    try {
      o_.trainer.executor.device = at::Device(o_.device);
      at::empty({1}, at::TensorOptions().device(o_.trainer.executor.device));
    } catch (const c10::Error&) {
      return InvalidArgument("--device " + o_.device + ": this libtorch cannot use it here");
    }
    if (o_.adapter_rank.has_value()) {
      if (*o_.adapter_rank < 0) return InvalidArgument("--adapter-rank is 0 or more");
      if (!(o_.adapter_alpha > 0)) return InvalidArgument("--adapter-alpha must be above 0");
      if (!o_.weights.empty()) {
        return InvalidArgument("--weights: an adapter is float32, whatever type its base has");
      }
    }
    if (!o_.layer_map.empty()) {
      TRY(o_.distill.layers, ParseLayerMap(o_.layer_map));
    }
    if (o_.task == "features" && o_.teacher.empty()) {
      return InvalidArgument(
          "--task features has no labels to learn from; distil from a --teacher");
    }
    if (o_.pool == "first") o_.start.pool = PoolKind::kFirst;
    if (o_.pool == "mean") o_.start.pool = PoolKind::kMean;
    o_.trainer.checkpoint = o_.output + ".checkpoint";
    // What a long run could not write at its end is found out at its beginning.
    if (IsMain()) TRY_VOID(AtomicFile::Create(o_.output));
    return {};
  }

  // Rank 0 decides for all.
  Status ChoosePrecision() {
    bool rounded = o_.precision == "bf16";
    if (o_.precision == "auto" && IsMain()) {
      const Result<PrecisionTimes> times =
          MeasurePrecisions(model_.graph, o_.trainer.executor.device);
      rounded = times.has_value() && times->float32 >= kLeastGain * times->bfloat16;
      const std::string why =
          times.has_value()
              ? "matrices take " + FormatNumber("%.3g ms", 1e3 * times->float32) + " in float32, " +
                    FormatNumber("%.3g ms", 1e3 * times->bfloat16) + " in bfloat16"
              : times.error().message();
      Note("--precision auto: " + why + "; training in " + (rounded ? "bfloat16" : "float32"));
    }
    std::byte decided[] = {std::byte{rounded}};
    TRY_VOID(ranks_.Broadcast(decided));
    if (decided[0] != std::byte{0}) o_.trainer.executor.precision = Precision::kBFloat16;
    return {};
  }

  bool Rounded() const { return o_.trainer.executor.precision == Precision::kBFloat16; }

  // Puts the adapter beside the model, of which everything but the head is frozen from then on.
  Status StartAdapter(std::optional<Model> base) {
    if (!base.has_value() || base->identity.empty()) {
      return InvalidArgument("--adapter-rank: an adapter belongs to a .thimble file, and " +
                             o_.start.model + " is none (thimble import makes one)");
    }
    std::error_code error;
    if (std::filesystem::equivalent(o_.start.model, o_.output, error)) {
      return InvalidArgument("-o " + o_.output + ": is the base, which the adapter needs");
    }
    base_ = std::move(base);
    TRY(const std::vector<bool> features, FeatureNodes(model_.graph));
    std::set<std::string> frozen;
    for (size_t i = 0; i < features.size(); ++i) {
      if (!features[i]) continue;
      for (const Weight& weight : model_.graph.nodes[i].weights) frozen.insert(weight.name);
    }
    o_.trainer.trainable = [frozen](std::string_view name) {
      return !frozen.contains(std::string(name));
    };
    if (*o_.adapter_rank == 0) return {};
    Result<Graph> graph =
        AddLora(model_.graph,
                {.rank = *o_.adapter_rank, .targets = o_.adapter_targets, .seed = o_.trainer.seed});
    if (!graph.has_value()) return std::move(graph).error().In(o_.start.model);
    model_.graph = *std::move(graph);
    const double factor = o_.adapter_alpha / static_cast<double>(*o_.adapter_rank);
    o_.trainer.rate_factor = [factor](std::string_view name, double) {
      return name.ends_with(kLoraUpWeight) ? factor : 1.0;
    };
    return {};
  }

  Status StartMasks() {
    if (!o_.movement.has_value()) return {};
    Result<std::unique_ptr<compress::MovementMasks>> masks =
        compress::MovementMasks::Create(model_.graph, *o_.movement);
    if (!masks.has_value()) return std::move(masks).error().In(o_.start.model);
    masks_ = *std::move(masks);
    o_.trainer.reparameterization = masks_.get();
    const double factor = o_.movement->score_rate / o_.trainer.rate;
    o_.trainer.rate_factor = [factor, own = o_.trainer.rate_factor](std::string_view name,
                                                                    double progress) {
      if (name.ends_with(compress::kScores)) return factor;
      return own ? own(name, progress) : 1.0;
    };
    return {};
  }

  Status CutMasked() {
    if (!masks_) return {};
    TRY(compress::Compacted compacted, compress::CompactMasked(model_.graph));
    model_.graph = std::move(compacted.graph);
    json sizes = json::object();
    for (const compress::Compacted::Size& s : compacted.sizes) {
      sizes[s.structure] = {{"units", s.units}, {"dense_units", s.dense_units}, {"zeros", s.zeros}};
    }
    json pruning = MovementJson();
    pruning["sizes"] = sizes;
    model_.provenance.emplace_back("pruning", pruning.dump());
    return {};
  }

  json MovementJson() const {
    const compress::MovementOptions& m = *o_.movement;
    return {{"choice", compress::MaskChoiceName(m.choice)},
            {"heads", m.attention == compress::AttentionMasks::kHeads},
            {"blocks_everywhere", m.blocks_everywhere},
            {"block", {m.block_rows, m.block_columns}},
            {"sparsity", 1 - m.keep},
            {"threshold", m.final_threshold},
            {"penalty", m.penalty},
            {"warmup", m.warmup},
            {"cooldown", m.cooldown},
            {"score_rate", m.score_rate}};
  }

  // Null where only a teacher says what is right.
  Result<std::unique_ptr<Objective>> MakeObjective() {
    if (o_.start.task == Task::kFeatures) return std::unique_ptr<Objective>();
    if (o_.start.task == Task::kMaskedLm) {
      MaskingOptions masking;
      const TokenizerSpec& t = model_.tokenizer;
      masking.whole_words = o_.whole_words;
      masking.mask_id = t.mask_id;
      masking.special_ids = SpecialIds(t);
      masking.special_ids.push_back(t.unknown_id);
      for (const std::string& piece : t.pieces) {
        masking.continues_word.push_back(piece.starts_with(t.continuing_prefix) ? 1 : 0);
      }
      return MaskedLmObjective(model_.graph, masking);
    }
    o_.loss.class_weights = ClassWeights(data_.train, *ClassWeightingFromName(o_.class_weights));
    if (o_.loss.adjust_tau > 0) o_.loss.priors = LabelShares(data_.train);
    return TaskObjective(model_.graph, o_.start.task, o_.loss);
  }

  Result<DistillPlan> PlanTeacher() const {
    Result<DistillPlan> plan =
        PlanDistillation(model_.graph, teacher_.graph, o_.trainer.seed, o_.distill);
    if (!plan.has_value()) return std::move(plan).error().In(o_.teacher);
    return plan;
  }

  // The teacher reads each text by its own tokenizer where that is another one.
  Result<TeacherCache> OpenCache(const DistillPlan& plan, const Tokenizer& tokenizer,
                                 const std::vector<TrainingExample>& examples) {
    const bool same = teacher_.tokenizer.pieces == tokenizer.spec().pieces &&
                      teacher_.tokenizer.lower_case == tokenizer.spec().lower_case;
    std::vector<TrainingExample> own;
    if (!same) {
      TRY(own, TeacherExamples(examples));
    }
    const std::vector<TrainingExample>& read = same ? examples : own;
    Model teacher = teacher_;
    teacher.graph = plan.teacher;
    const Model packed = Packed(teacher);
    const std::string folder = o_.cache.empty() ? o_.output + ".teacher" : o_.cache;
    Progress bar("teacher", 1);
    TRY(TeacherCache cache,
        TeacherCache::Open(
            folder, packed.graph, teacher_key_, plan.teacher_outputs, examples.size(),
            [&](size_t i) -> const TrainingExample& { return read[i]; }, o_.trainer.threads,
            [&](double share) {
              bar.Update(share);
              return cli::CheckInterrupt();
            }));
    Note(cache.computed() ? "the teacher's outputs are kept in " + cache.path()
                          : "the teacher's outputs were read from " + cache.path());
    return cache;
  }

  Result<std::vector<TrainingExample>> TeacherExamples(
      const std::vector<TrainingExample>& examples) {
    if (ComparesTokens(o_.distill) || o_.start.task == Task::kTokenLabels ||
        o_.start.task == Task::kAnswers) {
      return InvalidArgument(
          o_.teacher +
          ": the teacher cuts texts into other tokens than the student, so only "
          "logits and embeddings of whole texts can be distilled; use its vocabulary, or "
          "leave the other losses out");
    }
    TRY(const Tokenizer tokenizer, Tokenizer::Create(teacher_.tokenizer));
    std::vector<TrainingExample> own;
    for (const TrainingExample& e : examples) {
      const bool corpus = !data_.corpus.empty();
      const std::string& text =
          corpus ? data_.corpus[e.number] : data_.train.examples[e.source].text;
      const auto pair = corpus ? std::nullopt : data_.train.examples[e.source].pair;
      TRY(TrainingExample example,
          EncodeText(tokenizer, text, pair,
                     static_cast<size_t>(teacher_.graph.max_sequence_length)));
      own.push_back(std::move(example));
    }
    return own;
  }

  // Everything that a checkpoint, and the other ranks, must agree with.
  Status Fingerprint(const std::vector<TrainingExample>& examples) {
    Sha256 hash;
    for (const TrainingExample& e : examples) {
      hash.Update(std::as_bytes(std::span(e.ids)));
      hash.Update(std::as_bytes(std::span(e.type_ids)));
      hash.Update(std::as_bytes(std::span(e.labels)));
      hash.Update(std::as_bytes(std::span(e.scores)));
      hash.Update(std::as_bytes(std::span(&e.value, 1)));
    }
    data_sha256_ = std::move(hash).HexDigest();
    json j = RecipeJson();
    j["data"] = data_sha256_;
    j["teacher"] = teacher_key_;
    j["whole_words"] = o_.whole_words;
    if (o_.quantized.has_value()) j["quantized"] = WeightsSha256(*o_.quantized);
    o_.trainer.fingerprint = j.dump();
    return {};
  }

  json RecipeJson() const {
    const TrainerOptions& t = o_.trainer;
    json recipe = {{"model", o_.start.model},
                   {"set", o_.start.overrides},
                   {"inherit", o_.start.inherit},
                   {"task", TaskName(o_.start.task)},
                   {"epochs", t.epochs},
                   {"max_steps", t.max_steps},
                   {"max_seconds", t.max_seconds},
                   {"batch", t.batches.examples},
                   {"batch_tokens", t.batches.tokens},
                   {"accumulate", t.accumulate},
                   {"lr", t.rate},
                   {"schedule", o_.schedule},
                   {"warmup", t.warmup_share},
                   {"warmup_steps", o_.warmup_steps},
                   {"weight_decay", t.optimizer.weight_decay},
                   {"clip", t.optimizer.clip_norm},
                   {"ema", t.optimizer.average_decay},
                   {"dropout", o_.hidden_dropout},
                   {"attention_dropout", o_.attention_dropout},
                   {"token_dropout", o_.token_dropout},
                   {"label_smoothing", o_.loss.label_smoothing},
                   {"focal_gamma", o_.loss.focal_gamma},
                   {"logit_adjust", o_.loss.adjust_tau},
                   {"class_weights", o_.class_weights},
                   {"pool", o_.pool},
                   {"max_length", o_.max_length},
                   {"precision", Rounded() ? "bf16" : "f32"},
                   {"seed", t.seed}};
    if (base_.has_value()) {
      recipe["adapter"] = {{"rank", *o_.adapter_rank},
                           {"alpha", o_.adapter_alpha},
                           {"targets", o_.adapter_targets},
                           {"base", base_->identity}};
    }
    if (o_.movement.has_value()) recipe["movement"] = MovementJson();
    if (!o_.teacher.empty()) {
      const DistillOptions& d = o_.distill;
      recipe["teacher"] = std::filesystem::path(o_.teacher).filename().string();
      recipe["distill"] = {{"task", d.task},
                           {"logits", d.logits},
                           {"hidden", d.hidden},
                           {"attention", d.attention},
                           {"scores", d.scores},
                           {"values", d.values},
                           {"embedding", d.embedding},
                           {"temperature", d.temperature},
                           {"layer_map", o_.layer_map},
                           {"relation_heads", d.relation_heads},
                           {"normalize_hidden", d.normalize_hidden},
                           {"progressive", d.progressive}};
    }
    return recipe;
  }

  // By the runtime that will run the model on the device.
  Result<std::vector<TaskOutput>> Outputs(const Model& model, const Dataset& data) const {
    const Model packed = Packed(model);
    TRY(Predictor predictor,
        Predictor::Create(packed, {.threads = o_.trainer.threads, .max_length = o_.max_length}));
    TRY(DatasetOutputs run, PredictDataset(predictor, packed.task, data));
    return std::move(run.outputs);
  }

  Result<TaskMetrics> Measure(const Model& model, const Dataset& data, size_t bootstrap) const {
    TRY(const std::vector<TaskOutput> outputs, Outputs(model, data));
    return ComputeMetrics(
        data, outputs,
        {.thresholds = model.thresholds, .bootstrap_samples = bootstrap, .main = o_.metric});
  }

  // As it is written: without what training added, in the types that were asked for.
  Result<Graph> Stored(const Graph& trained) const {
    TRY(Graph graph, WithoutDistillation(trained));
    if (!o_.quantized.has_value()) return graph;
    return compress::WithTypesOf(graph, *o_.quantized);
  }

  // Several labels: with the thresholds that these weights would get.
  Result<Evaluation> Evaluate(const Graph& graph) const {
    Model model = model_;
    TRY(model.graph, Stored(graph));
    TRY(const std::vector<TaskOutput> outputs, Outputs(model, data_.valid));
    TRY(model.thresholds, Thresholds(outputs));
    TRY(const TaskMetrics metrics,
        ComputeMetrics(
            data_.valid, outputs,
            {.thresholds = model.thresholds, .bootstrap_samples = 0, .main = o_.metric}));
    Evaluation evaluation;
    evaluation.score = metrics.metrics[0].value;
    for (const Metric& m : metrics.metrics) evaluation.metrics.emplace_back(m.name, m.value);
    return evaluation;
  }

  // Tuned on the validation set; empty for other tasks.
  Result<std::vector<float>> Thresholds(const std::vector<TaskOutput>& outputs) const {
    if (model_.task != Task::kMultiLabel || data_.valid.examples.empty()) {
      return std::vector<float>();
    }
    TRY(TunedThresholds tuned, TuneThresholds(data_.valid, outputs));
    return std::move(tuned.per_label);
  }

  Status Finish(const TrainingResult& result, TrainingConsole& console) {
    json summary = {{"steps", result.steps},
                    {"epochs", result.epochs},
                    {"seconds", result.seconds},
                    {"tokens", result.tokens},
                    {"tokens_per_s", result.tokens / std::max(result.seconds, 1e-9)},
                    {"skipped_steps", result.skipped_steps},
                    {"stopped_early", result.stopped_early},
                    {"best_step", result.best_step},
                    {"processes", ranks_.size()},
                    {"output", o_.output}};
    if (model_.task == Task::kMultiLabel && !data_.valid.examples.empty()) {
      TRY(const std::vector<TaskOutput> outputs, Outputs(model_, data_.valid));
      TRY(model_.thresholds, Thresholds(outputs));
    }
    const auto measure = [&](const char* name, const Dataset& data) -> Status {
      if (data.examples.empty()) return {};
      TRY(const TaskMetrics metrics, Measure(model_, data, 1000));
      summary[name] = MetricsJson(metrics);
      model_.provenance.emplace_back(std::string(name) + "_metrics", summary[name].dump());
      return {};
    };
    TRY_VOID(measure("valid", data_.valid));
    TRY_VOID(measure("test", data_.test));
    summary["account"] = console.Account();
    summary["account"]["device"] = o_.device;
    model_.provenance.emplace_back("training_account", summary["account"].dump());
    model_.provenance.emplace_back("training", RecipeJson().dump());
    model_.provenance.emplace_back("training_data_sha256", data_sha256_);
    TRY_VOID(ConvertWeights(model_, o_.weights));
    TRY_VOID(base_.has_value() ? WriteAdapter(model_, *base_, o_.output)
                               : WriteThimble(model_, o_.output));
    std::remove(o_.trainer.checkpoint.c_str());
    TRY_VOID(console.Summary(summary));
    if (o_.silent) return {};
    return PrintText(o_.json ? summary.dump() + "\n" : TrainingConsole::Human(summary));
  }

  TrainingCall o_;
  Collective& ranks_;
  TrainingTexts data_;
  Model model_, teacher_;
  std::unique_ptr<compress::MovementMasks> masks_;
  std::optional<compress::QuantizedWeights> rounded_;
  std::optional<Model> base_;  // of the adapter that is trained
  std::string data_sha256_, teacher_key_;
};

}  // namespace

Status RunTraining(TrainingCall call) {
  TRY(const std::unique_ptr<ProcessGroup> group, JoinRanks(call.processes, call.rank_timeout));
  if (group == nullptr) return Run(std::move(call), *SingleProcess()).Execute();
  if (group->rank() != 0) LeaveNotesToOthers();
  return OneVoice(Run(std::move(call), *group).Execute(), *group);
}

}  // namespace thimble::cli
