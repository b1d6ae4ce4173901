// thimble quantize: int8 weights where they pay and do not cost the answers.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/score.h"
#include "thimble/compress/mixed_precision.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/passes/passes.h"

namespace thimble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct QuantizeCall {
  std::string model, output, scheme = "mixed", goal = "speed", calib, valid, metric;
  compress::PrecisionOptions options;
  compress::CalibrationOptions calibration{.samples = 256};
  bool force = false, json = false;
};

std::string Text(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

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

class QuantizeRun {
 public:
  explicit QuantizeRun(QuantizeCall call) : o_(std::move(call)) {}

  Status Execute() {
    if (o_.valid.empty()) {
      if (o_.calib.empty()) {
        return InvalidArgument("--max-drop is checked on labelled texts: give --valid");
      }
      o_.valid = o_.calib;
      Note("without --valid the limit is checked on " + o_.calib);
    }
    TRY(model_, ReadThimble(o_.model));
    TRY(const Dataset valid, ReadFor(model_, o_.valid));
    const auto score = [&](const Graph& graph) -> Result<double> {
      Model model = model_;
      model.graph = graph;
      TRY(const Score s, ScoreOn(model, valid, o_.metric, o_.options.timing.threads));
      metric_ = s.metric;
      return s.value;
    };
    report_["model"] = o_.model;
    report_["scheme"] = o_.scheme;
    if (o_.scheme == "dynamic") {
      TRY_VOID(Dynamic(score));
    } else {
      TRY_VOID(Mixed(score));
    }
    model_.provenance.emplace_back("quantization", report_.dump());
    TRY_VOID(WriteThimble(model_, o_.output));
    report_["output"] = o_.output;
    return PrintText(o_.json ? report_.dump() + "\n" : Human());
  }

 private:
  // A row of the table of types.
  void AddType(const char* name, double score, const Graph& graph, const compress::Speedup& time,
               bool dense) {
    report_["types"].push_back({{"type", name},
                                {"score", score},
                                {"weight_bytes", WeightBytes(graph)},
                                {"p50_ms", 1e3 * (dense ? time.dense_seconds : time.seconds)},
                                {"speedup", dense ? 1.0 : time.factor}});
  }

  Status CheckDrop(double before, double after, const std::string& nodes) const {
    if (before - after <= o_.options.max_drop || o_.force) return {};
    return Error(ErrorCode::kLimitNotMet, metric_ + " falls from " + Text("%.4f", before) + " to " +
                                              Text("%.4f", after) + ", more than --max-drop " +
                                              Text("%g", o_.options.max_drop) + nodes +
                                              " (--force writes it)");
  }

  Status Dynamic(const std::function<Result<double>(const Graph&)>& score) {
    TRY(const double before, score(model_.graph));
    TRY(Graph int8, RunPass(*FindPass("weights_to_int8"), model_.graph));
    TRY(const double after, score(int8));
    TRY_VOID(CheckDrop(before, after, "; --scheme mixed keeps what costs most as it is"));
    TRY(const compress::Speedup time, compress::MeasureSpeedup(model_, int8, o_.options.timing));
    report_["metric"] = metric_;
    AddType("as it was", before, model_.graph, time, true);
    AddType("int8", after, int8, time, false);
    model_.graph = std::move(int8);
    return {};
  }

  Status Mixed(const std::function<Result<double>(const Graph&)>& score) {
    if (o_.calib.empty()) {
      return InvalidArgument("--scheme mixed measures what each weight costs on texts: --calib");
    }
    o_.options.only_where_faster = o_.goal == "speed";
    TRY(const auto examples, compress::ReadCalibration(o_.calib, model_, o_.calibration));
    TRY(const auto distance,
        compress::OutputDistance::Create(model_, examples, o_.options.timing.threads));
    compress::PrecisionPlan plan;
    {
      Progress bar("measuring", 1);
      TRY(plan, compress::ChoosePrecision(model_, distance, score, o_.options, [&](double share) {
            bar.Update(share);
            return CheckInterrupt();
          }));
    }
    report_["metric"] = metric_;
    report_["goal"] = o_.goal;
    AddType("as it was", plan.score_float, model_.graph, plan.all_int8, true);
    TRY(const Graph all, RunPass(*FindPass("weights_to_int8"), model_.graph));
    AddType("all int8", plan.score_int8, all, plan.all_int8, false);
    AddType("mixed", plan.score, plan.graph, plan.mixed, false);
    std::vector<const compress::PrecisionGroup*> costly;
    report_["groups"] = Json::array();
    for (const compress::PrecisionGroup& group : plan.groups) {
      report_["groups"].push_back({{"nodes", group.nodes},
                                   {"loss", group.loss},
                                   {"speedup", group.speedup},
                                   {"int8", group.int8}});
      costly.push_back(&group);
    }
    std::stable_sort(costly.begin(), costly.end(),
                     [](auto* a, auto* b) { return a->loss > b->loss; });
    TRY_VOID(CheckDrop(plan.score_float, plan.score, "; " + costly[0]->nodes[0] + " costs most"));
    // Two timings of one model differ by so much on a shared machine.
    constexpr double kNoise = 0.03;
    const double better = std::max(1.0, plan.score_float - plan.score_int8 <= o_.options.max_drop
                                            ? plan.all_int8.factor
                                            : 1.0);
    if (o_.goal == "speed" && plan.mixed.factor < (1 - kNoise) * better && !o_.force) {
      return Error(
          ErrorCode::kLimitNotMet,
          "the mixed model is measured at " + Text("%.2fx", plan.mixed.factor) +
              " of the original's speed, and one of one type at " + Text("%.2fx", better) +
              "; measure again on a quieter machine, or take --scheme dynamic (--force writes it)");
    }
    model_.graph = std::move(plan.graph);
    return {};
  }

  std::string Human() const {
    const size_t wide = std::max<size_t>(metric_.size(), 6);
    const auto pad = [](std::string cell, size_t width) {
      return std::string(width - std::min(width, cell.size()), ' ') + cell;
    };
    std::string text = "weights    " + pad(metric_, wide) + pad("MiB", 10) + pad("ms", 10) +
                       pad("speed", 8) + "\n";
    for (const Json& row : report_["types"]) {
      std::string name = row["type"];
      name.resize(11, ' ');
      text += name + pad(Text("%.4f", row["score"]), wide) +
              pad(Text("%.2f", row["weight_bytes"].get<double>() / (1 << 20)), 10) +
              pad(Text("%.3f", row["p50_ms"]), 10) + pad(Text("%.2fx", row["speedup"]), 8) + "\n";
    }
    if (report_.contains("groups")) {
      size_t int8 = 0;
      for (const Json& group : report_["groups"]) int8 += group["int8"].get<bool>() ? 1 : 0;
      text += std::to_string(int8) + " of " + std::to_string(report_["groups"].size()) +
              " weights became int8\n";
    }
    return text + "written to " + o_.output + "\n";
  }

  QuantizeCall o_;
  Model model_;
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
         "mixed: int8 where it pays and does not cost the answers; dynamic: int8 everywhere")
      ->check(CLI::IsMember({"dynamic", "mixed"}))
      ->capture_default_str();
  app.add_option("--goal", o.goal,
                 "of mixed: speed, int8 where it is faster here; size, wherever the limit allows")
      ->check(CLI::IsMember({"speed", "size"}))
      ->capture_default_str();
  app.add_option("--valid", o.valid, "labelled set that the limit is checked on; unset: --calib");
  app.add_option("--max-drop,--max_drop", o.options.max_drop,
                 "what the metric may lose; more is an error (3)")
      ->capture_default_str();
  app.add_option("--metric", o.metric, "of --valid; unset: the task's main one");
  app.add_option("--calib", o.calib, "mixed: texts on which each weight's cost is measured");
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
  app.add_flag("--force", o.force, "write the model even if it misses a limit");
  app.add_flag("--json", o.json, "what was measured as one JSON document");
  return [call] { return QuantizeRun(*call).Execute(); };
}

}  // namespace thimble::cli
