// thimble prune: structured pruning to speedups that are measured on this machine.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "thimble/base/clock.h"
#include "thimble/base/file.h"
#include "thimble/base/format.h"
#include "thimble/base/sha256.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/prune_movement.h"
#include "thimble/cli/prune_report.h"
#include "thimble/cli/recovery.h"
#include "thimble/cli/score.h"
#include "thimble/cli/training_run.h"
#include "thimble/compress/pruner.h"
#include "thimble/compress/speedup_target.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/targets/machine.h"

namespace thimble::cli {
namespace {

using compress::Pruned;
using compress::Pruner;
using Json = nlohmann::ordered_json;

struct PruneCall {
  std::string model, method = "ziplm", calib, output, valid, metric;
  std::vector<double> speedups;
  compress::PruneOptions options;
  compress::CalibrationOptions calibration;
  RecoveryOptions
      recovery;  // training between targets; hidden states count 0 where masks are learned
  // Of masks that are learned, instead of a target.
  std::optional<double> sparsity;
  std::string scores = "topk", masks;
  std::vector<int64_t> block = {32, 32};
  compress::MovementOptions movement;
  double fill_epochs = 0;
  bool json = false, force = false, resume = false;
};

double FileBytes(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<double>(bytes);
}

class PruneRun {
 public:
  explicit PruneRun(PruneCall call) : o_(std::move(call)) {}

  Status Execute() {
    if (o_.sparsity.has_value() || (Learned() && o_.speedups.empty())) return Movement();
    TRY_VOID(CheckCall());
    TRY(dense_, ReadThimble(o_.model));
    std::vector<train::TrainingExample> examples;
    if (!Learned()) {
      TRY(examples, compress::ReadCalibration(o_.calib, dense_, o_.calibration));
    }
    std::optional<Dataset> valid;
    if (!o_.valid.empty()) {
      TRY(valid, ReadFor(dense_, o_.valid));
      TRY(const Score score, ScoreOn(dense_, *valid, o_.metric, o_.options.timing.threads));
      report_["dense"] = {{"metric", score.metric}, {"score", score.value}};
    }
    TRY(Pruner pruner, Measure(examples));
    for (const double target : o_.speedups) {
      // The message of either says what is possible.
      if (Learned() && target > compress::LargestUniformSpeedup(pruner.table())) {
        TRY_VOID(SizesFor(pruner.table(), target));
      } else if (target > pruner.largest_speedup()) {
        TRY_VOID(pruner.PruneTo(dense_.graph, target, [](double) { return Status(); }));
      }
    }
    std::error_code error;
    std::filesystem::create_directories(o_.output, error);
    if (error) return IoError(o_.output + ": " + error.message());

    Graph current = dense_.graph;
    call_ = CallOf(examples);
    report_["targets"] = Json::array();
    for (const double target : o_.speedups) {
      TRY(const bool reused, Reuse(target, current));
      if (reused) continue;
      const auto begin = Clock::now();
      Model model = dense_;
      TRY(const Pruned pruned,
          Learned() ? LearnOnce(pruner, target, model) : PruneOnce(pruner, current, target, model));
      if (Gradual()) current = model.graph;
      TRY_VOID(Write(std::move(model), pruned, valid, begin));
    }
    if (!Learned() && !Gradual()) TRY_VOID(MeasureAgain(pruner, valid));
    report_["seconds"] = SecondsSince(start_);
    report_["peak_rss_bytes"] = PeakResidentBytes();
    if (const double others = other_load_.Processors(); others >= 0) report_["other_load"] = others;
    TRY_VOID(WriteReport());
    TRY_VOID(PrintText(o_.json ? report_.dump() + "\n" : PruneTable(report_, o_.output)));
    const std::string missed = MissedTargets(report_);
    return missed.empty() || o_.force
               ? Status()
               : Error(ErrorCode::kLimitNotMet,
                       "no model for " + missed +
                           " was found whose measured speedup keeps the promise; what "
                           "came nearest is in report.json (--force writes it; a quieter machine "
                           "may help)");
  }

 private:
  // Whether masks say what stays, learned while training.
  bool Learned() const { return o_.method == "movement"; }

  // Training that learns masks; with --method magnitude the weights themselves are the scores.
  Status Movement() {
    if (!o_.speedups.empty()) {
      return InvalidArgument(
          "--speedup and --sparsity are two ways to say how much goes; give one of them");
    }
    if (o_.recovery.train.empty())
      return InvalidArgument("--sparsity is reached by training: give --train");
    const bool magnitude = o_.method == "magnitude";
    if (!magnitude && o_.method != "movement") {
      return InvalidArgument("--method " + o_.method +
                             " takes --speedup; --sparsity is for movement and magnitude");
    }
    compress::MovementOptions& m = o_.movement;
    m.choice =
        magnitude ? compress::MaskChoice::kMagnitude : *compress::MaskChoiceFromName(o_.scores);
    m.keep = 1 - o_.sparsity.value_or(0.25);
    if (o_.masks == "heads") m.attention = compress::AttentionMasks::kHeads;
    m.blocks_everywhere = o_.masks == "blocks";
    m.block_rows = o_.block[0];
    m.block_columns = o_.block[1];
    MovementCall call;
    call.training = TrainingOf(o_.model);
    call.training.distill.hidden = o_.recovery.alpha_hidden.value_or(0);
    call.training.movement = m;
    call.fill_epochs = o_.fill_epochs;
    call.timing = o_.options.timing;
    call.output = o_.output;
    call.json = o_.json;
    return RunMovement(std::move(call));
  }

  Status CheckCall() {
    const auto method = compress::PruneMethodFromName(o_.method);
    if (!method && !Learned())
      return InvalidArgument("--method " + o_.method + ": it is ziplm, movement or magnitude");
    if (o_.speedups.empty()) return InvalidArgument("--speedup is required: how fast, as 1.5,2,3");
    if (Learned()) {
      TRY_VOID(CheckLearned());
    } else {
      o_.options.method = *method;
      if (o_.calib.empty()) return InvalidArgument("--calib is required: texts to calibrate on");
    }
    std::sort(o_.speedups.begin(), o_.speedups.end());
    for (const double target : o_.speedups) {
      if (!(target >= 1))
        return InvalidArgument("--speedup " + FormatNumber("%g", target) +
                               ": targets are 1 or more");
    }
    return {};
  }

  // Only whole heads and columns have a time that is known beforehand, and only topk keeps so many of them.
  Status CheckLearned() {
    if (o_.recovery.train.empty())
      return InvalidArgument("--method movement prunes while it trains: give --train");
    if (o_.scores != "topk" || (!o_.masks.empty() && o_.masks != "heads") || o_.fill_epochs > 0) {
      return InvalidArgument(
          "--method movement reaches a --speedup by --masks heads and --scores topk, without "
          "--fill-epochs; with other masks, give --sparsity");
    }
    o_.movement.choice = compress::MaskChoice::kTopK;
    o_.movement.attention = compress::AttentionMasks::kHeads;
    return {};
  }

  Result<Pruner> Measure(const std::vector<train::TrainingExample>& examples) {
    Progress bar("measuring this machine", 1);
    TRY(Pruner pruner, Pruner::Create(dense_, examples, o_.options, [&](double share) {
          bar.Update(share);
          return CheckInterrupt();
        }));
    const compress::LatencyTable& table = pruner.table();
    Json rows = Json::array();
    for (size_t s = 0; s < table.structures.size(); ++s) {
      Json ms = Json::array();
      for (const double seconds : table.seconds[s]) ms.push_back(1e3 * seconds);
      rows.push_back(
          {{"structure", table.structures[s].name}, {"units", table.units[s]}, {"ms", ms}});
    }
    report_["model"] = o_.model;
    report_["method"] = o_.method;
    report_["gradual"] = Gradual();
    report_["seq"] = o_.options.timing.tokens;
    report_["batch"] = o_.options.timing.batch;
    report_["threads"] = o_.options.timing.threads;
    report_["samples"] = examples.size();
    report_["table"] = {{"dense_ms", 1e3 * table.dense},
                        {"fixed_ms", 1e3 * table.fixed},
                        {"largest_speedup", pruner.largest_speedup()},
                        {"half_measured_ms", 1e3 * table.half_measured},
                        {"half_from_table_ms", 1e3 * table.half_from_table},
                        {"structures", rows}};
    return pruner;
  }

  std::string PathOf(double target) const {
    return (std::filesystem::path(o_.output) / (TargetName(target) + ".thimble")).string();
  }

  // A finished target of an earlier call of the same kind.
  Result<bool> Reuse(double target, Graph& current) {
    if (!o_.resume || !std::filesystem::exists(PathOf(target))) return false;
    TRY(const Model model, ReadThimble(PathOf(target)));
    for (const auto& [key, value] : model.provenance) {
      if (key != "pruning") continue;
      const Json row = Json::parse(value, nullptr, false);
      if (row.is_discarded() || row.value("call", "") != call_) continue;
      Note(PathOf(target) + ": is there already");
      if (Gradual()) current = model.graph;
      Report(row, PathOf(target));
      return true;
    }
    return false;
  }

  bool Gradual() const { return !Learned() && !o_.recovery.train.empty(); }

  // What decides about the result, the machine included: another one keeps other promises.
  std::string CallOf(const std::vector<train::TrainingExample>& examples) const {
    Sha256 texts;
    for (const train::TrainingExample& e : examples) {
      const auto length = static_cast<uint64_t>(e.ids.size());
      texts.Update(std::as_bytes(std::span(&length, 1)));
      texts.Update(std::as_bytes(std::span(e.ids)));
      texts.Update(std::as_bytes(std::span(e.type_ids)));
    }
    Json call = {{"method", o_.method},
                 {"weights", WeightsSha256(dense_.graph)},
                 {"calibration", std::move(texts).HexDigest()},
                 {"processor", ProcessorName()},
                 {"seq", o_.options.timing.tokens},
                 {"batch", o_.options.timing.batch},
                 {"threads", o_.options.timing.threads},
                 {"seed", o_.options.search.seed},
                 {"valid", o_.valid},
                 {"metric", o_.metric}};
    if (!o_.recovery.train.empty()) {
      if (!Learned()) call["targets"] = o_.speedups;  // each starts from the one before
      call["train"] = o_.recovery.train;
      call["epochs"] = o_.recovery.epochs;
      call["lr"] = o_.recovery.rate;
      call["train_batch"] = o_.recovery.batch;
      call["train_threads"] = o_.recovery.threads;
      call["max_length"] = o_.recovery.max_length;
      call["dropout"] = {o_.recovery.dropout, o_.recovery.token_dropout};
      call["alpha"] = {o_.recovery.alpha_task, o_.recovery.alpha_logits,
                       o_.recovery.alpha_hidden.value_or(1), o_.recovery.temperature};
    }
    if (Learned()) {
      const compress::MovementOptions& m = o_.movement;
      call["masks"] = {m.warmup, m.cooldown, m.score_rate};
    }
    Sha256 hash;
    const std::string text = call.dump();
    hash.Update(std::as_bytes(std::span(text)));
    return std::move(hash).HexDigest();
  }

  // A target's row, in place of the one it has.
  void Report(Json row) {
    for (Json& there : report_["targets"]) {
      if (there["target"] != row["target"]) continue;
      there = std::move(row);
      return;
    }
    report_["targets"].push_back(std::move(row));
  }

  // With what can be seen of its file.
  void Report(Json row, const std::string& path) {
    row["file"] = path;
    row["file_bytes"] = FileBytes(path);
    Report(std::move(row));
  }

  // What has been measured once is measured again, all of it in turns and at another time than when it was searched for. A
  // target that is missed then is searched again.
  Status MeasureAgain(Pruner& pruner, const std::optional<Dataset>& valid) {
    constexpr int kSearches = 2;
    for (int search = 0;; ++search) {
      std::vector<Json> rows;
      std::vector<Model> made;
      for (const Json& row : report_["targets"]) {
        if (row["target"] == 1 || !row["kept_promise"].get<bool>() ||
            row.contains("measured_again"))
          continue;
        rows.push_back(row);
        TRY(Model model, ReadThimble(PathOf(row["target"])));
        made.push_back(std::move(model));
      }
      if (rows.empty()) return {};
      std::vector<const Graph*> graphs;
      for (const Model& model : made) graphs.push_back(&model.graph);
      TRY(const std::vector<compress::Speedup> again,
          compress::MeasureSpeedups(dense_, graphs, o_.options.timing));
      for (size_t i = 0; i < rows.size(); ++i) {
        const double target = rows[i]["target"];
        const bool kept =
            compress::SpeedupTarget(pruner.table(), target, o_.options.slack).Kept(again[i].factor);
        if (!kept && search < kSearches) {
          const auto begin = Clock::now();
          Model model = dense_;
          TRY(const Pruned pruned, PruneOnce(pruner, dense_.graph, target, model));
          TRY_VOID(Write(std::move(model), pruned, valid, begin));
          continue;
        }
        rows[i]["measured_again"] = again[i].factor;
        rows[i]["kept_promise"] = kept;
        TRY_VOID(Store(std::move(rows[i]), std::move(made[i])));
      }
    }
  }

  // Writes a model with its row, or takes back the file of an earlier search where the promise is not kept.
  Status Store(Json row, Model model) {
    const std::string path = PathOf(row["target"]);
    row.erase("file");
    row.erase("file_bytes");
    if (!Writes(row["kept_promise"])) {
      Report(std::move(row));
      std::error_code error;
      std::filesystem::remove(path, error);
      return error ? IoError(path + ": " + error.message()) : Status();
    }
    std::erase_if(model.provenance, [](const auto& entry) { return entry.first == "pruning"; });
    model.provenance.emplace_back("pruning", row.dump());
    TRY_VOID(WriteThimble(model, path));
    Report(std::move(row), path);
    return {};
  }

  bool Writes(bool kept_promise) const { return kept_promise || o_.force; }

  // Makes `model`, the dense one, what is written.
  Result<Pruned> PruneOnce(Pruner& pruner, const Graph& current, double target, Model& model) {
    Progress bar("pruning to " + TargetName(target), 1);
    TRY(Pruned pruned, pruner.PruneTo(current, target, [&](double share) {
      bar.Update(share);
      return CheckInterrupt();
    }));
    model.graph = Writes(pruned.kept_promise) ? pruned.graph : current;
    if (Gradual() && target > 1 && Writes(pruned.kept_promise)) {
      // Blocks without attention are still blocks, so that layers pair as they are.
      TRY_VOID(Train(TrainingOf(PathOf(target)), model, PathOf(target)));
    }
    return pruned;
  }

  Result<compress::UniformSizes> SizesFor(const compress::LatencyTable& table,
                                          double target) const {
    return compress::SizesForSpeedup(dense_, table, target, o_.options.slack, o_.options.attempts,
                                     o_.options.timing);
  }

  // The target says how many units stay, training with masks of so many says which.
  Result<Pruned> LearnOnce(const Pruner& pruner, double target, Model& model) const {
    Pruned pruned{.target = target, .measured = {}, .sizes = {}, .damped = {}};
    compress::UniformSizes sizes;
    if (target > 1) {
      TRY(sizes, SizesFor(pruner.table(), target));
    } else {
      const double seconds = pruner.table().dense;
      sizes = {.units = {}, .measured = {1, seconds, seconds}, .kept_promise = true};
    }
    pruned.measured = sizes.measured;
    pruned.kept_promise = sizes.kept_promise;
    pruned.attempts = 1;
    if (target > 1 && Writes(sizes.kept_promise)) {
      TrainingCall call = TrainingOf(PathOf(target));
      call.distill.hidden = o_.recovery.alpha_hidden.value_or(0);
      call.movement = o_.movement;
      call.movement->units = sizes.units;
      TRY_VOID(Train(std::move(call), model, PathOf(target)));
      // What has the sizes that were measured takes that time; a unit may have died beside those that were cut.
      std::map<std::string, int64_t> left;
      for (const Structure& s : FindStructures(model.graph)) left[s.name] = s.units;
      if (left != sizes.units) {
        TRY(pruned.measured, compress::MeasureSpeedup(dense_, model.graph, o_.options.timing));
        pruned.kept_promise = compress::SpeedupTarget(pruner.table(), target, o_.options.slack)
                                  .Kept(pruned.measured.factor);
        sizes.units = std::move(left);
      }
    }
    for (const Structure& s : pruner.table().structures) {
      pruned.sizes.push_back({s.name, target > 1 ? sizes.units[s.name] : s.units, s.units});
    }
    return pruned;
  }

  // With the dense model as teacher.
  Status Train(TrainingCall call, Model& model, const std::string& path) const {
    call.cache = (std::filesystem::path(o_.output) / "teacher").string();
    TRY(const Model trained, Recover(std::move(call), model, path));
    model.graph = trained.graph;
    model.thresholds = trained.thresholds;
    return {};
  }

  Status Write(Model model, const Pruned& pruned, const std::optional<Dataset>& valid,
               Clock::time_point begin) {
    Json row = {{"target", pruned.target},
                {"speedup", pruned.measured.factor},
                {"kept_promise", pruned.kept_promise},
                {"p50_ms", 1e3 * pruned.measured.seconds},
                {"dense_p50_ms", 1e3 * pruned.measured.dense_seconds},
                {"calibration_loss", pruned.loss},
                {"attempts", pruned.attempts},
                {"profiles", pruned.evaluated},
                {"call", call_}};
    Json sizes = Json::object();
    for (const compress::PrunedSize& s : pruned.sizes)
      sizes[s.structure] = {s.units, s.dense_units};
    row["sizes"] = sizes;
    if (!pruned.damped.empty()) row["damped"] = pruned.damped;
    if (Writes(pruned.kept_promise)) {
      row["parameters"] = ComputeCost(model.graph, {}).parameters;
      if (valid) {
        TRY(const Score score, ScoreOn(model, *valid, o_.metric, o_.options.timing.threads));
        row["metric"] = score.metric;
        row["score"] = score.value;
      }
    }
    row["seconds"] = SecondsSince(begin);
    return Store(std::move(row), std::move(model));
  }

  TrainingCall TrainingOf(const std::string& start) const {
    TrainingCall call = RecoveryCall(o_.recovery, start, o_.model, o_.options.timing.threads);
    call.valid = o_.valid;
    call.metric = o_.metric;
    call.trainer.seed = o_.options.search.seed;
    call.trainer.resume = o_.resume;
    return call;
  }

  Status WriteReport() {
    TRY(AtomicFile file,
        AtomicFile::Create((std::filesystem::path(o_.output) / "report.json").string()));
    TRY_VOID(file.Append(report_.dump(2) + "\n"));
    return file.Commit();
  }

  PruneCall o_;
  Model dense_;
  Json report_;
  std::string call_;
  Clock::time_point start_ = Clock::now();
  OtherLoad other_load_;
};

}  // namespace

Action SetupPrune(CLI::App& app) {
  auto call = std::make_shared<PruneCall>();
  PruneCall& o = *call;
  app.add_option("MODEL", o.model, "a .thimble file, float32")->required();
  app.add_option("--method", o.method, "ziplm, movement, or magnitude as the baseline of both")
      ->capture_default_str();
  app.add_option("--speedup", o.speedups, "targets: end-to-end speedups over MODEL, measured here")
      ->delimiter(',');
  app.add_option("--calib", o.calib,
                 "texts to calibrate on: a labelled set of the task, or plain text");
  app.add_option("-o,--output", o.output, "folder for 1.5x.thimble, ..., report.json")
      ->required()
      ->type_name("DIR");
  app.add_option("--valid", o.valid, "labelled set that every model is judged by");
  app.add_option("--metric", o.metric, "of --valid; unset: the task's main one");
  app.add_option("--samples", o.calibration.samples, "calibration texts used")
      ->capture_default_str();
  app.add_option("--seq", o.options.timing.tokens, "tokens of a sequence that is timed")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--batch", o.options.timing.batch, "sequences per timed run")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", o.options.timing.threads, "threads, timed and used")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", o.options.search.seed, "of the search, and of training")
      ->capture_default_str();
  auto* train = app.add_option(
      "--train", o.recovery.train,
      "gradual pruning: train on this set after every target, with MODEL as teacher");
  AddRecoveryOptions(app, train, o.recovery);
  app.add_option("--alpha-hidden", o.recovery.alpha_hidden,
                 "weight of hidden states, block by block; unset: 1, with --sparsity 0")
      ->needs(train);
  auto* masks = app.add_option_group("Learned masks");
  masks->add_option("--sparsity", o.sparsity,
                    "movement, magnitude: share of the blocks that goes while training on --train; "
                    "unset for movement without --speedup: 0.25");
  masks->add_option("--scores", o.scores, "movement: topk, or threshold with a penalty")
      ->check(CLI::IsMember({"topk", "threshold"}))
      ->capture_default_str();
  masks
      ->add_option("--masks", o.masks,
                   "hybrid: blocks in attention, columns of feed-forwards; heads: heads and "
                   "columns; blocks: blocks everywhere; unset: hybrid, with --speedup heads")
      ->check(CLI::IsMember({"hybrid", "heads", "blocks"}));
  masks->add_option("--block", o.block, "rows and columns of a block; 1,1: single weights")
      ->expected(2)
      ->delimiter(',')
      ->capture_default_str();
  masks->add_option("--score-lr", o.movement.score_rate, "peak learning rate of the scores")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  masks->add_option("--threshold", o.movement.final_threshold, "of --scores threshold, at the end")
      ->capture_default_str();
  masks->add_option("--penalty", o.movement.penalty, "of --scores threshold: presses scores down")
      ->capture_default_str();
  masks->add_option("--prune-warmup", o.movement.warmup, "share of the run before anything goes")
      ->capture_default_str();
  masks->add_option("--prune-cooldown", o.movement.cooldown, "share after the last has gone")
      ->capture_default_str();
  masks
      ->add_option("--fill-epochs", o.fill_epochs,
                   "of training without masks afterwards: what is left becomes dense again")
      ->capture_default_str();
  app.add_flag("--force", o.force, "write models that miss their target too");
  app.add_flag("--resume", o.resume, "keep the finished targets of an earlier, equal call");
  app.add_flag("--json", o.json, "the report as one JSON document");
  return [call]() -> Status {
    call->calibration.seed = call->options.search.seed;
    return PruneRun(*call).Execute();
  };
}

}  // namespace thimble::cli
