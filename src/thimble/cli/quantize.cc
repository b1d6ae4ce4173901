// thimble quantize: int8 weights where they pay and do not cost the answers; int8 and int4 by group.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "thimble/base/format.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/recovery.h"
#include "thimble/cli/score.h"
#include "thimble/compress/activation_range.h"
#include "thimble/compress/mixed_precision.h"
#include "thimble/compress/quantized_training.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/passes/passes.h"
#include "thimble/passes/smooth_channels.h"
#include "thimble/passes/weights_by_group.h"
#include "thimble/pipeline/html_report.h"
#include "thimble/targets/machine.h"

namespace thimble::cli {
namespace {

using compress::Speedup;
using Json = nlohmann::ordered_json;

struct QuantizeCall {
  std::string model, output, scheme = "mixed", goal = "speed", calib, valid, metric;
  std::string report, charts;
  std::string activations = "dynamic", method = "percentile";
  double percentile = 99.99;
  std::optional<double> smooth;
  bool correct_biases = false, per_channel = true;
  int bits = 4;
  size_t group = 32;
  // Gentler than after pruning: little is lost.
  RecoveryOptions recovery{.rate = 1e-4, .dropout = 0};
  compress::PrecisionOptions options;
  compress::CalibrationOptions calibration{.samples = 256};
  bool force = false, json = false;
};

double WeightBytes(const Graph& graph) {
  std::vector<const Tensor*> seen;
  double bytes = 0;
  for (const Node& node : graph.nodes) {
    for (const Weight& w : node.weights) {
      if (std::any_of(seen.begin(), seen.end(),
                      [&](const Tensor* t) { return t->SameAs(w.tensor); }))
        continue;
      seen.push_back(&w.tensor);
      bytes += static_cast<double>(w.tensor.bytes());
    }
  }
  return bytes;
}

// A node whose weights are quantized; null if there is none.
const Node* FindQuantized(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    if (!node.weights.empty() && IsQuantized(node.weights[0].tensor.dtype())) return &node;
  }
  return nullptr;
}

DType TypeOf(const Graph& graph, const std::string& node) {
  return graph.FindNode(node)->weights[0].tensor.dtype();
}

class QuantizeRun {
 public:
  explicit QuantizeRun(QuantizeCall call) : o_(std::move(call)) {}

  Status Execute() {
    TRY_VOID(CheckCall());
    TRY(model_, ReadThimble(o_.model));
    if (const Node* node = FindQuantized(model_.graph)) {
      return Unsupported(o_.model + ": " + node->name +
                         " is quantized already; give the float model that it was made of");
    }
    TRY(valid_, ReadFor(model_, o_.valid));
    if (!o_.calib.empty()) {
      TRY(examples_, compress::ReadCalibration(o_.calib, model_, o_.calibration));
    }
    report_ = {{"model", o_.model},
               {"scheme", o_.scheme},
               {"max_drop", o_.options.max_drop},
               {"seq", o_.options.timing.tokens},
               {"batch", o_.options.timing.batch},
               {"threads", o_.options.timing.threads},
               {"machine", ProcessorName()}};
    TRY(before_, Score(model_.graph));
    report_["metric"] = metric_;
    original_ = model_.graph;
    if (o_.smooth) TRY_VOID(Smooth());
    TRY(const Graph quantized, Quantized());
    TRY_VOID(o_.scheme == "all"     ? EveryType(quantized)
             : o_.scheme == "mixed" ? Mixed(quantized)
                                    : Whole(quantized));
    MarkSweetSpots();
    if (!o_.report.empty()) {
      TRY_VOID(
          pipeline::WriteHtmlReport(pipeline::ReportKind::kTypes, report_, o_.charts, o_.report));
    }
    model_.provenance.emplace_back("quantization", report_.dump());
    TRY_VOID(WriteThimble(model_, o_.output));
    report_["output"] = o_.output;
    return PrintText(o_.json ? report_.dump() + "\n" : Human());
  }

 private:
  bool Static() const { return o_.scheme == "static" || o_.activations == "static"; }
  bool WeightOnly() const { return o_.scheme == "weight-only"; }
  bool Trains() const { return !o_.recovery.train.empty(); }
  GroupType Groups() const { return {o_.bits == 4 ? DType::kI4Group : DType::kI8Group, o_.group}; }

  Status CheckCall() {
    if (!o_.per_channel) {
      return InvalidArgument("--per_channel false: weights have a scale per output here, always");
    }
    if (WeightOnly() && Static()) {
      return InvalidArgument("--activations static: --scheme weight-only leaves activations float");
    }
    if (o_.scheme == "all" && o_.activations == "static") {
      return InvalidArgument("--activations static: --scheme all has int8 of both kinds");
    }
    if (o_.scheme == "all" && Trains()) {
      return InvalidArgument(
          "--train: --scheme all compares types as they are; train the one it finds by a second "
          "call with its --scheme");
    }
    const char* needs = Static()               ? "static scales are calibrated on texts"
                        : o_.scheme == "mixed" ? "--scheme mixed measures each weight on texts"
                        : o_.scheme == "all"   ? "--scheme all has types that look at texts"
                        : o_.smooth            ? "--smooth looks at activations on texts"
                        : o_.correct_biases    ? "--bias-correction takes means over texts"
                                               : nullptr;
    if (needs != nullptr && o_.calib.empty()) {
      return InvalidArgument(std::string(needs) + ": give --calib");
    }
    if (o_.valid.empty()) {
      if (o_.calib.empty()) {
        return InvalidArgument("--max-drop is checked on labelled texts: give --valid");
      }
      o_.valid = o_.calib;
      Note("without --valid the limit is checked on " + o_.calib);
    }
    return {};
  }

  Result<double> Score(const Graph& graph) {
    Model model = model_;
    model.graph = graph;
    TRY(const cli::Score s, ScoreOn(model, valid_, o_.metric, o_.options.timing.threads));
    metric_ = s.metric;
    return s.value;
  }

  Result<std::vector<compress::InputStatistics>> Observe() const {
    Progress bar("calibrating", 1);
    return compress::ObserveInputs(model_, examples_, o_.options.timing.threads, [&](double share) {
      bar.Update(share);
      return CheckInterrupt();
    });
  }

  // The float model computes the same afterwards; what is quantized of it is not the same.
  Status Smooth() {
    TRY(const auto statistics, Observe());
    std::vector<std::vector<float>> largest(model_.graph.values.size());
    for (const compress::InputStatistics& s : statistics) largest[Index(s.value)] = s.largest;
    TRY(Smoothed smoothed, SmoothChannels(model_.graph, largest, *o_.smooth));
    report_["smoothing"] = {
        {"strength", *o_.smooth}, {"streams", smoothed.streams}, {"channels", smoothed.channels}};
    if (smoothed.streams == 0) {
      Note("--smooth: a norm or an activation lies behind every value, nothing can be moved");
    }
    model_.graph = std::move(smoothed.graph);
    return {};
  }

  Result<Graph> WithFixedScales(const Graph& graph) {
    TRY(const auto statistics, Observe());
    report_["calibration_method"] = o_.method;
    return compress::WithInputScales(graph, statistics, *compress::RangeMethodFromName(o_.method),
                                     o_.percentile);
  }

  // Everything that can be, in the way that was asked for.
  Result<Graph> Quantized() {
    TRY(Graph graph, WeightOnly() ? WeightsByGroup(model_.graph, Groups())
                                  : RunPass(*FindPass("weights_to_int8"), model_.graph));
    report_["activations"] = WeightOnly() ? "float" : Static() ? "static" : "dynamic";
    if (WeightOnly()) {
      report_["bits"] = o_.bits;
      report_["group"] = o_.group;
    }
    if (Static()) {
      TRY(graph, WithFixedScales(graph));
    }
    if (o_.correct_biases) {
      TRY(graph, compress::CorrectBiases(model_, graph, examples_, o_.options.timing.threads,
                                         [](double) { return CheckInterrupt(); }));
    }
    report_["bias_correction"] = o_.correct_biases;
    return graph;
  }

  // A row of the table of types.
  void AddType(const std::string& name, double score, const Graph& graph, const Speedup& time,
               bool dense) {
    report_["types"].push_back({{"type", name},
                                {"score", score},
                                {"weight_bytes", WeightBytes(graph)},
                                {"p50_ms", 1e3 * (dense ? time.dense_seconds : time.seconds)},
                                {"speedup", dense ? 1.0 : time.factor}});
  }

  // `groups`: what each weight costs; empty where nothing was measured.
  Status CheckDrop(double after, const std::vector<compress::PrecisionGroup>& groups) const {
    if (before_ - after <= o_.options.max_drop || o_.force) return {};
    std::vector<const compress::PrecisionGroup*> costly;
    for (const compress::PrecisionGroup& group : groups) costly.push_back(&group);
    std::stable_sort(costly.begin(), costly.end(),
                     [](auto* a, auto* b) { return a->loss > b->loss; });
    constexpr size_t kNamed = 3;
    std::string names;
    for (size_t i = 0; i < std::min(kNamed, costly.size()); ++i) {
      names += (i == 0 ? "; costs most: " : ", ") + costly[i]->nodes[0];
    }
    return Error(
        ErrorCode::kLimitNotMet,
        metric_ + " falls from " + FormatNumber("%.4f", before_) + " to " +
            FormatNumber("%.4f", after) + ", more than --max-drop " +
            FormatNumber("%g", o_.options.max_drop) + names +
            (o_.scheme == "mixed" ? "" : "; --scheme mixed keeps what costs most as it is") +
            " (--force writes it)");
  }

  // Trains the float weights behind `quantized` for its codes, with the original as teacher.
  Result<Model> Trained(const Graph& quantized) const {
    Model start = model_;
    start.graph = compress::FloatWeights(model_.graph, quantized);
    TrainingCall call = RecoveryCall(o_.recovery, o_.output, o_.model, o_.options.timing.threads);
    call.valid = o_.valid;
    call.metric = o_.metric;
    call.trainer.seed = o_.calibration.seed;
    call.quantized = quantized;
    return Recover(std::move(call), start, o_.output);
  }

  // Takes `quantized`, trained first where that is asked for; `row`: its name in the table of types.
  Status Take(const Graph& quantized, double score, const std::string& row, const Speedup& time,
              const std::vector<compress::PrecisionGroup>& groups) {
    if (Trains()) {
      TRY(const Model trained, Trained(quantized));
      model_.graph = trained.graph;
      model_.thresholds = trained.thresholds;
      TRY(score, Score(model_.graph));
      AddType(row + ", trained", score, quantized, time, false);
      report_["epochs"] = o_.recovery.epochs;
      report_["lr"] = o_.recovery.rate;
    } else {
      model_.graph = quantized;
    }
    return CheckDrop(score, groups);
  }

  Status Whole(const Graph& quantized) {
    TRY(const double after, Score(quantized));
    std::vector<compress::PrecisionGroup> groups;
    const bool too_much = before_ - after > o_.options.max_drop;
    if (too_much && !Trains() && !o_.force && !examples_.empty()) {
      TRY(const auto distance, Distance());
      Progress bar("looking for what costs most", 1);
      TRY(groups, compress::MeasureLosses(model_, quantized, distance, [&](double share) {
            bar.Update(share);
            return CheckInterrupt();
          }));
    }
    if (!Trains()) TRY_VOID(CheckDrop(after, groups));
    TRY(const Speedup time, MeasureSpeedup(Original(), quantized, o_.options.timing));
    AddType("as it was", before_, original_, time, true);
    const std::string row = WeightOnly() ? "int" + std::to_string(o_.bits) + " by group"
                            : Static()   ? "int8, static"
                                         : "int8";
    AddType(row, after, quantized, time, false);
    return Take(quantized, after, row, time, groups);
  }

  // The fastest and the smallest of the types that keep to the limit; none may.
  void MarkSweetSpots() {
    const Json* fastest = nullptr;
    const Json* smallest = nullptr;
    for (const Json& row : report_["types"]) {
      if (before_ - row["score"].get<double>() > o_.options.max_drop) continue;
      if (fastest == nullptr || row["speedup"] > (*fastest)["speedup"]) fastest = &row;
      if (smallest == nullptr || row["weight_bytes"] < (*smallest)["weight_bytes"]) smallest = &row;
    }
    report_["sweet_spots"] = Json::object();
    if (fastest == nullptr) return;
    report_["sweet_spots"] = {{"speed", (*fastest)["type"]}, {"size", (*smallest)["type"]}};
  }

  // Each type on its own and the mixed model, all timed in turns, and the best of them by --goal.
  Status EveryType(const Graph& int8) {
    struct Type {
      std::string name;
      Graph graph;
      std::optional<double> score = std::nullopt;
    };
    TRY(compress::PrecisionPlan plan, ChooseMixed(int8));
    TRY(Graph half, RunPass(*FindPass("weights_to_f16"), model_.graph));
    TRY(Graph fixed, WithFixedScales(int8));
    TRY(Graph groups8, WeightsByGroup(model_.graph, {DType::kI8Group, o_.group}));
    TRY(Graph groups4, WeightsByGroup(model_.graph, {DType::kI4Group, o_.group}));
    std::vector<Type> types;
    types.push_back({"float16", std::move(half)});
    types.push_back({"all int8", int8, plan.score_all});
    types.push_back({"int8, static", std::move(fixed)});
    types.push_back({"int8 by group", std::move(groups8)});
    types.push_back({"int4 by group", std::move(groups4)});
    types.push_back({"mixed", std::move(plan.graph), plan.score});
    std::vector<const Graph*> graphs;
    for (Type& type : types) {
      if (!type.score) {
        TRY(type.score, Score(type.graph));
      }
      graphs.push_back(&type.graph);
    }
    TRY(const std::vector<Speedup> times,
        compress::MeasureSpeedups(Original(), graphs, o_.options.timing));
    report_["types"] =
        Json::array();  // what the choice of the mixed model measured was another round
    AddType("as it was", before_, original_, times[0], true);
    for (size_t i = 0; i < types.size(); ++i) {
      AddType(types[i].name, *types[i].score, types[i].graph, times[i], false);
    }
    MarkSweetSpots();
    if (report_["sweet_spots"].empty()) {
      return Error(ErrorCode::kLimitNotMet,
                   "no type keeps to --max-drop " + FormatNumber("%g", o_.options.max_drop));
    }
    const std::string chosen = report_["sweet_spots"][o_.goal == "size" ? "size" : "speed"];
    report_["chosen"] = chosen;
    if (chosen == "as it was")
      Note("no other type keeps to --max-drop and gains: the model is written as it was");
    for (Type& type : types) {
      if (type.name == chosen) model_.graph = std::move(type.graph);
    }
    return {};
  }

  Status Mixed(const Graph& quantized) {
    TRY(const compress::PrecisionPlan plan, ChooseMixed(quantized));
    return Take(plan.graph, plan.score, "mixed", plan.mixed, plan.groups);
  }

  Result<compress::PrecisionPlan> ChooseMixed(const Graph& quantized) {
    o_.options.only_where_faster = o_.goal == "speed";
    Graph smaller;
    if (o_.goal == "size") {
      TRY(smaller, WeightsByGroupWhere(model_.graph, {DType::kI4Group, o_.group},
                                       [](const Node& n) { return n.op == OpKind::kEmbedding; }));
      o_.options.smaller_tables = &smaller;
    }
    TRY(const auto distance, Distance());
    const compress::ScoreFn score = [this](const Graph& graph) { return Score(graph); };
    compress::PrecisionPlan plan;
    {
      Progress bar("measuring", 1);
      TRY(plan, compress::ChoosePrecision(model_, quantized, distance, score, o_.options,
                                          [&](double share) {
                                            bar.Update(share);
                                            return CheckInterrupt();
                                          }));
    }
    report_["goal"] = o_.goal;
    AddType("as it was", before_, original_, plan.all, true);
    AddType("all int8", plan.score_all, quantized, plan.all, false);
    AddType("mixed", plan.score, plan.graph, plan.mixed, false);
    report_["groups"] = Json::array();
    for (const compress::PrecisionGroup& group : plan.groups) {
      report_["groups"].push_back({{"nodes", group.nodes},
                                   {"loss", group.loss},
                                   {"speedup", group.speedup},
                                   {"type", DTypeName(TypeOf(plan.graph, group.nodes[0]))}});
    }
    if (plan.replaced) {
      Note("the mixed model was measured to be slower than one of one type, which is taken");
    }
    return plan;
  }

  Result<compress::OutputDistance> Distance() const {
    return compress::OutputDistance::Create(model_, examples_, o_.options.timing.threads);
  }

  Model Original() const {
    Model model = model_;
    model.graph = original_;
    return model;
  }

  std::string Mark(const std::string& type) const {
    if (report_["types"].size() < 3 || report_["sweet_spots"].empty()) return "";
    const bool fastest = report_["sweet_spots"]["speed"] == type;
    const bool smallest = report_["sweet_spots"]["size"] == type;
    if (fastest && smallest) return "  fastest and smallest within the limit";
    return fastest ? "  fastest within the limit" : smallest ? "  smallest within the limit" : "";
  }

  std::string Human() const {
    const size_t wide = std::max<size_t>(metric_.size(), 6);
    const auto pad = [](std::string cell, size_t width) {
      return std::string(width - std::min(width, cell.size()), ' ') + cell;
    };
    std::string text = "weights               " + pad(metric_, wide) + pad("MiB", 10) +
                       pad("ms", 10) + pad("speed", 8) + "\n";
    for (const Json& row : report_["types"]) {
      std::string name = row["type"];
      name.resize(22, ' ');
      text += name + pad(FormatNumber("%.4f", row["score"]), wide) +
              pad(FormatNumber("%.2f", row["weight_bytes"].get<double>() / (1 << 20)), 10) +
              pad(FormatNumber("%.3f", row["p50_ms"]), 10) +
              pad(FormatNumber("%.2fx", row["speedup"]), 8) + Mark(row["type"]) + "\n";
    }
    if (report_.contains("groups")) {
      std::map<std::string, size_t> types;
      for (const Json& group : report_["groups"]) ++types[group["type"]];
      text += std::to_string(report_["groups"].size()) + " weights:";
      for (const auto& [type, count] : types) text += " " + std::to_string(count) + " " + type;
      text += "\n";
    }
    return text + "written to " + o_.output + "\n";
  }

  QuantizeCall o_;
  Model model_;
  Graph original_;
  Dataset valid_;
  std::vector<train::TrainingExample> examples_;
  double before_ = 0;
  std::string metric_;
  Json report_;
};

}  // namespace

Action SetupQuantize(CLI::App& app) {
  auto call = std::make_shared<QuantizeCall>();
  QuantizeCall& o = *call;
  app.add_option("MODEL", o.model, "a .thimble file of float weights")->required();
  app.add_option("-o,--output", o.output, "the .thimble file to write")
      ->required()
      ->type_name("FILE");
  app.add_option(
         "--scheme", o.scheme,
         "mixed: int8 where it pays and does not cost the answers; dynamic: int8 "
         "everywhere; static: with activation scales fixed on --calib; weight-only: int4 or "
         "int8 by group, activations stay float; all: measures every type and writes the best by "
         "--goal")
      ->check(CLI::IsMember({"dynamic", "static", "mixed", "weight-only", "all"}))
      ->capture_default_str();
  app.add_option("--bits", o.bits, "of weight-only: 4 or 8")
      ->check(CLI::IsMember({4, 8}))
      ->capture_default_str();
  app.add_option("--group", o.group, "inputs that share a scale, of weight-only and int4 tables")
      ->check(CLI::IsMember(std::vector<size_t>(kScaleGroups.begin(), kScaleGroups.end())))
      ->capture_default_str();
  app.add_option(
         "--goal", o.goal,
         "of mixed and all: speed, what is faster here; size, wherever the limit allows, and "
         "int4 tables of words")
      ->check(CLI::IsMember({"speed", "size"}))
      ->capture_default_str();
  app.add_option("--activations", o.activations, "of mixed: dynamic, or static")
      ->check(CLI::IsMember({"dynamic", "static"}))
      ->capture_default_str();
  app.add_option("--calibration-method,--calibration_method", o.method,
                 "of static: how the range of activations is chosen")
      ->check(CLI::IsMember({"minmax", "percentile", "mse", "entropy"}))
      ->capture_default_str();
  app.add_option("--percentile", o.percentile, "of --calibration-method percentile")
      ->check(CLI::Range(50.0, 100.0))
      ->capture_default_str();
  app.add_option("--smooth", o.smooth,
                 "move outlier channels from activations into weights; 0.5 divides them evenly")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--bias-correction", o.correct_biases,
               "biases take up what quantization adds in the mean");
  app.add_flag("--per-channel,--per_channel", o.per_channel, "a scale per output: always so")
      ->group("");
  app.add_option("--valid", o.valid, "labelled set that the limit is checked on; unset: --calib");
  app.add_option("--max-drop,--max_drop", o.options.max_drop,
                 "what the metric may lose; more is an error (3)")
      ->capture_default_str();
  app.add_option("--metric", o.metric, "of --valid; unset: the task's main one");
  auto* train = app.add_option("--train", o.recovery.train,
                               "train on this set for what was chosen, with MODEL as teacher");
  AddRecoveryOptions(app, train, o.recovery);
  app.add_option("--calib", o.calib,
                 "texts to calibrate on: a labelled set of the task, or plain text");
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
  app.add_option("--seed", o.calibration.seed, "of the choice of calibration texts")
      ->capture_default_str();
  app.add_option("--report", o.report,
                 "write the table and charts of score by time and size into this .html file");
  app.add_option(
      "--charts", o.charts,
      "of --report: folder of the npm package uplot, whose charts are put into the page");
  app.add_flag("--force", o.force, "write the model even if it misses a limit");
  app.add_flag("--json", o.json, "what was measured as one JSON document");
  return [call] { return QuantizeRun(*call).Execute(); };
}

}  // namespace thimble::cli
