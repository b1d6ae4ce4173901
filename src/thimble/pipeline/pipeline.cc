#include "thimble/pipeline/pipeline.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "thimble/base/closest_name.h"
#include "thimble/base/file.h"
#include "thimble/base/format.h"
#include "thimble/pipeline/calls.h"
#include "thimble/pipeline/files.h"
#include "thimble/targets/energy.h"

namespace thimble::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Judged {
  std::string path, sha256;
  double bytes = 0, parameters = 0, ms = 0;
  std::optional<double> score;
  std::string metric, task;
  Json layers;

  Json ToJson() const {
    Json json = {{"path", path},
                 {"sha256", sha256},
                 {"file_bytes", bytes},
                 {"parameters", parameters},
                 {"p50_ms", ms}};
    if (score) json["score"] = *score;
    return json;
  }
};

// Of more-is-better; where there is nothing to lose a share of, the difference.
double Loss(double before, double after) {
  return before > 0 ? (before - after) / before : before - after;
}

struct Pass {
  std::string value;                           // of what varies
  std::map<std::string, std::string> outputs;  // what steps wrote, by name
  std::optional<Judged> model, reference;
  Json steps = Json::array();
  std::vector<std::string> missed;
  std::vector<std::pair<std::string, std::string>> files;  // name, path: of export steps
};

class Pipeline {
 public:
  Pipeline(const Recipe& recipe, const PipelineOptions& options)
      : r_(recipe), o_(options), calls_(options) {}

  Result<PipelineResult> Run() {
    UsageMeter meter;
    TRY_VOID(MakeFolder(o_.folder + "/steps"));
    bool told = false;
    TRY(const FileLock lock, FileLock::Acquire(o_.folder + "/lock", [&] {
          if (!std::exchange(told, true)) o_.tell("another process works in " + o_.folder);
          return o_.check_interrupt();
        }));
    TRY_VOID(CheckOptions());
    std::vector<std::string> variants = r_.variants;
    if (variants.empty()) variants.emplace_back();
    std::vector<Pass> passes;
    for (const std::string& value : variants) {
      if (!r_.varied.empty()) o_.tell(r_.varied + " = " + value);
      passes.push_back({.value = value});
      TRY_VOID(RunPass(passes.back()));
      if (passes.back().missed.empty()) break;
    }
    const auto chosen = std::min_element(
        passes.begin(), passes.end(),
        [](const Pass& a, const Pass& b) { return a.missed.size() < b.missed.size(); });
    PipelineResult result{.met = chosen->missed.empty()};
    for (const std::string& line : chosen->missed) {
      result.missed += (result.missed.empty() ? "" : "; ") + line;
    }
    TRY(result.report, Report(passes, static_cast<size_t>(chosen - passes.begin()), meter.Read()));
    TRY_VOID(WriteText(o_.folder + "/report.json",
                       result.report.dump(1, ' ', false, Json::error_handler_t::replace) + "\n"));
    if (result.met || o_.force) TRY_VOID(Deliver(*chosen));
    return result;
  }

 private:
  // --- Options: checked before the first step, so that a slip in the last one is not found an hour later

  Status CheckOptions() {
    std::map<std::string_view, std::vector<std::string>> known;
    for (const Step& step : r_.steps) {
      std::vector<std::string>& names = known[step.verb->name];
      if (names.empty()) {
        TRY(names, calls_.OptionsOf(*step.verb));
      }
      TRY_VOID(CheckNames(step, step.options, names));
      for (const StepOptions& options : step.tries) TRY_VOID(CheckNames(step, options, names));
    }
    return {};
  }

  Status CheckNames(const Step& step, const StepOptions& options,
                    const std::vector<std::string>& known) const {
    for (const StepOption& option : options) {
      if (std::find(known.begin(), known.end(), option.name) != known.end()) continue;
      std::string message = r_.path + ": line " + std::to_string(option.line) + ": thimble " +
                            std::string(step.verb->name) + " has no option '" + option.name + "'";
      if (const auto guess = ClosestName(option.name, known)) {
        message += ", did you mean '" + *guess + "'?";
      }
      return InvalidArgument(message);
    }
    return {};
  }

  // --- Models

  Result<Judged> Judge(const std::string& name, const std::string& path, bool score) {
    Judged judged{.path = path};
    TRY(const Word model, calls_.FileWord(path));
    TRY(judged.sha256, calls_.HashOf(path));
    TRY(judged.bytes, ContentBytes(path));
    const auto number = [](const Json& json, const char* key) -> Result<double> {
      if (json.is_object() && json.contains(key) && json[key].is_number()) {
        return json[key].get<double>();
      }
      return InvalidData(std::string("thimble's JSON has no ") + key);
    };
    TRY(const Made seen, calls_.Make(name, {.verb = FindStepVerb("inspect"), .words = {model}}));
    TRY(judged.parameters, number(seen.result(), "parameters"));
    judged.task = seen.result().value("task", "");
    judged.layers = seen.result().value("nodes", Json::array());
    if (score) {
      TRY(const Made eval, Evaluate(name, model, *r_.File("valid"), {"--bootstrap", "0"}));
      const Json& result = eval.result();
      judged.metric = r_.metric.empty() ? result.value("main", "") : r_.metric;
      if (!result.is_object() || !result.contains("metrics")) {
        return InvalidData("thimble eval's JSON has no metrics");
      }
      TRY(judged.score, number(result["metrics"], judged.metric.c_str()));
    }
    Call bench{.verb = FindStepVerb("bench"), .words = {model}};
    for (const auto& [option, value] :
         {std::pair("--seq", r_.measure.seq), std::pair("--batch", r_.measure.batch),
          std::pair("--threads", r_.measure.threads)}) {
      bench.words.push_back({option, option});
      bench.words.push_back({std::to_string(value), std::to_string(value)});
    }
    const std::string seconds = FormatNumber("%g", r_.measure.seconds);
    bench.words.push_back({"--seconds", "--seconds"});
    bench.words.push_back({seconds, seconds});
    TRY(const Made timed, calls_.Make(name, bench));
    TRY(judged.ms, number(timed.result(), "p50_ms"));
    return judged;
  }

  Result<Made> Evaluate(const std::string& name, const Word& model, const std::string& data,
                        const std::vector<std::string>& options) {
    TRY(const Word set, calls_.FileWord(data));
    Call call{.verb = FindStepVerb("eval"), .words = {model, set}};
    for (const std::string& option : options) call.words.push_back({option, option});
    if (!r_.metric.empty()) {
      call.words.push_back({"--metric", "--metric"});
      call.words.push_back({r_.metric, r_.metric});
    }
    return calls_.Make(name, call);
  }

  // --- Steps

  Result<Word> WordOf(const std::string& text, const Pass& pass) {
    const auto path = [&](std::string_view name) -> std::optional<std::string> {
      if (name == "model") return pass.model->path;
      if (const std::string* file = r_.File(name)) return *file;
      const auto output = pass.outputs.find(std::string(name));
      if (output != pass.outputs.end()) return output->second;
      return std::nullopt;
    };
    const auto value = [&](std::string_view name) {  // the recipe was checked
      const std::string* set = r_.Value(name);
      return set != nullptr ? *set : pass.value;
    };
    Word word;
    TRY(word.text, Substitute(text, [&](std::string_view name) -> Result<std::string> {
          const auto file = path(name);
          return file ? *file : value(name);
        }));
    TRY(word.key, Substitute(text, [&](std::string_view name) -> Result<std::string> {
          const auto file = path(name);
          if (!file) return value(name);
          TRY(const std::string hash, calls_.HashOf(*file));
          return "sha256:" + hash;
        }));
    return word;
  }

  Result<Call> CallOf(const Step& step, const StepOptions& instead, const Pass& pass) {
    Call call{.verb = step.verb, .output = step.output};
    if (step.verb->output == StepOutput::kNothing) call.output.clear();
    for (const std::string& input : step.inputs) {
      TRY(Word word, WordOf(input, pass));
      call.words.push_back(std::move(word));
    }
    StepOptions options = instead;
    for (const StepOption& option : step.options) {
      const bool replaced = std::any_of(instead.begin(), instead.end(),
                                        [&](const auto& o) { return o.name == option.name; });
      if (!replaced) options.push_back(option);
    }
    for (const StepOption& option : options) {
      const std::string name = "--" + option.name;
      if (option.values.empty()) call.words.push_back({name, name});
      for (const std::string& value : option.values) {
        call.words.push_back({name, name});
        TRY(Word word, WordOf(value, pass));
        call.words.push_back(std::move(word));
      }
    }
    return call;
  }

  // The models that a step wrote.
  static Result<std::vector<std::string>> ModelsOf(const Step& step, const std::string& output) {
    if (step.verb->output == StepOutput::kModel) return std::vector<std::string>{output};
    std::vector<std::string> models;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(output, error)) {
      if (entry.path().extension() == ".thimble") models.push_back(entry.path().string());
    }
    if (error) return IoError(output + ": " + error.message());
    std::sort(models.begin(), models.end());
    return models;
  }

  // Why a model cannot be kept; empty: it can.
  std::string Verdict(const Step& step, const Judged& model, const Pass& pass) const {
    const StepLimits& limits = step.limits;
    if (limits.max_loss && pass.model && model.score) {
      const double loss = Loss(*pass.model->score, *model.score);
      if (loss > *limits.max_loss) {
        return "loses " + FormatNumber("%.2f %%", 100 * loss) + " of " + model.metric +
               ", more than " + FormatNumber("%g %%", 100 * *limits.max_loss);
      }
    }
    if (limits.max_ms && model.ms > *limits.max_ms) {
      return "takes " + FormatNumber("%.3f ms", model.ms) + ", more than " +
             FormatNumber("%g", *limits.max_ms);
    }
    if (limits.max_bytes && model.bytes > *limits.max_bytes) {
      return "has " + FormatNumber("%.0f bytes", model.bytes) + ", more than " +
             FormatNumber("%.0f", *limits.max_bytes);
    }
    return "";
  }

  Status RunStep(const Step& step, Pass& pass) {
    Json row = {{"name", step.name}, {"verb", step.verb->name}, {"attempts", Json::array()}};
    std::vector<StepOptions> tries = step.tries;
    if (tries.empty()) tries.emplace_back();
    std::optional<Judged> kept;
    std::string reason;
    for (const StepOptions& options : tries) {
      TRY(const Call call, CallOf(step, options, pass));
      TRY(const Made made, calls_.Make(step.name, call));
      Json attempt = made.record;
      attempt["reused"] = made.reused;
      if (made.exit_code() != 0) {
        reason = made.record["error"];
        row["attempts"].push_back(std::move(attempt));
        continue;
      }
      if (step.verb->output == StepOutput::kFile || step.verb->output == StepOutput::kNothing) {
        row["attempts"].push_back(std::move(attempt));
        row["decision"] = "done";
        if (!made.output.empty()) {
          pass.outputs[step.name] = made.output;
          TRY(const double bytes, ContentBytes(made.output));
          row["file"] = {{"path", made.output}, {"file_bytes", bytes}};
          if (step.verb->name == "export") pass.files.emplace_back(step.output, made.output);
        }
        pass.steps.push_back(std::move(row));
        return {};
      }
      TRY(const std::vector<std::string> paths, ModelsOf(step, made.output));
      std::vector<Judged> models;
      for (const std::string& path : paths) {
        TRY(Judged judged, Judge(step.name, path, !step.part));
        models.push_back(std::move(judged));
      }
      std::stable_sort(models.begin(), models.end(),
                       [](const Judged& a, const Judged& b) { return a.ms < b.ms; });
      attempt["models"] = Json::array();
      for (const Judged& model : models) {
        const std::string verdict = Verdict(step, model, pass);
        Json json = model.ToJson();
        if (pass.model && model.score) json["loss"] = Loss(*pass.model->score, *model.score);
        json["kept"] = !kept && verdict.empty();
        if (!verdict.empty()) json["reason"] = verdict;
        attempt["models"].push_back(std::move(json));
        if (!verdict.empty()) reason = verdict;
        if (!kept && verdict.empty()) kept = model;
      }
      row["attempts"].push_back(std::move(attempt));
      if (kept) break;
    }
    return Decide(step, kept, reason, std::move(row), pass);
  }

  Status Decide(const Step& step, const std::optional<Judged>& kept, const std::string& reason,
                Json row, Pass& pass) {
    if (!kept && (step.part || !pass.model)) {
      return Error(ErrorCode::kLimitNotMet,
                   "step " + step.name + ": " + reason + ", and there is no model to go back to");
    }
    row["decision"] = kept ? (step.part ? "part" : "kept") : "rolled back";
    if (kept) {
      row["model"] = kept->ToJson();
      if (!step.part && pass.model) row["loss"] = Loss(*pass.model->score, *kept->score);
    } else {
      row["reason"] = reason;
      o_.tell(step.name + ": rolled back: " + reason);
    }
    if (!step.part) {
      if (kept) pass.model = kept;
      if (!pass.reference) pass.reference = kept;
      row["total_loss"] = Loss(*pass.reference->score, *pass.model->score);
    }
    pass.outputs[step.name] = kept ? kept->path : pass.model->path;
    pass.steps.push_back(std::move(row));
    return {};
  }

  Status RunPass(Pass& pass) {
    for (const Step& step : r_.steps) TRY_VOID(RunStep(step, pass));
    const Judged &model = *pass.model, &reference = *pass.reference;
    const auto miss = [&](bool missed, const std::string& what, const std::string& limit) {
      if (missed) pass.missed.push_back(what + ", the limit is " + limit);
    };
    const Limits& l = r_.limits;
    const double loss = Loss(*reference.score, *model.score);
    if (l.max_loss) {
      miss(loss > *l.max_loss,
           "loses " + FormatNumber("%.2f %%", 100 * loss) + " of " + model.metric,
           FormatNumber("%g %%", 100 * *l.max_loss));
    }
    if (l.max_ms) {
      miss(model.ms > *l.max_ms, "takes " + FormatNumber("%.3f ms", model.ms),
           FormatNumber("%g ms", *l.max_ms));
    }
    if (l.max_bytes) {
      miss(model.bytes > *l.max_bytes, "has " + FormatNumber("%.0f bytes", model.bytes),
           FormatNumber("%.0f", *l.max_bytes));
    }
    const double smaller = reference.bytes / model.bytes, faster = reference.ms / model.ms;
    if (l.min_smaller) {
      miss(smaller < *l.min_smaller, "is " + FormatNumber("%.2f times smaller", smaller),
           FormatNumber("%g", *l.min_smaller));
    }
    if (l.min_faster) {
      miss(faster < *l.min_faster, "is " + FormatNumber("%.2f times faster", faster),
           FormatNumber("%g", *l.min_faster));
    }
    return {};
  }

  // --- Result

  static Json JsonOf(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

  Json PassJson(const Pass& pass) const {
    const Judged &model = *pass.model, &reference = *pass.reference;
    Json json = Json::object();
    if (!r_.varied.empty()) json[r_.varied] = pass.value;
    json["steps"] = pass.steps;
    json["reference"] = reference.ToJson();
    json["result"] = model.ToJson();
    json["result"]["loss"] = Loss(*reference.score, *model.score);
    json["result"]["smaller"] = reference.bytes / model.bytes;
    json["result"]["faster"] = reference.ms / model.ms;
    json["missed"] = pass.missed;
    return json;
  }

  Result<Json> Report(const std::vector<Pass>& passes, size_t chosen, const Usage& now) {
    const Pass& best = passes[chosen];
    const Judged& model = *best.model;
    TRY(const Word word, calls_.FileWord(model.path));
    std::vector<std::string> options = {"--per-label"};
    if (model.task == "single_label") options.emplace_back("--confusion");
    TRY(const Made valid, Evaluate("result", word, *r_.File("valid"), options));
    Json test;
    if (const std::string* file = r_.File("test")) {
      TRY(const Made made, Evaluate("result", word, *file, options));
      test = made.result();
    }
    Json values = Json::object();
    for (const auto& [name, value] : r_.values) values[name] = value;
    Json files = Json::object();
    for (const auto& [name, path] : r_.files) {
      TRY(const std::string hash, calls_.HashOf(path));
      files[name] = {{"path", path}, {"sha256", hash}};
    }
    const Usage& spent = calls_.spent();
    TRY(const std::string recipe_hash, ContentHash(r_.path));
    const EnergyModel energy;
    Json report = {{"recipe", r_.path},
                   {"recipe_sha256", recipe_hash},
                   {"version", o_.version},
                   {"machine", o_.machine},
                   {"files", std::move(files)},
                   {"values", std::move(values)},
                   {"metric", model.metric},
                   {"measure",
                    {{"seq", r_.measure.seq},
                     {"batch", r_.measure.batch},
                     {"threads", r_.measure.threads},
                     {"seconds", r_.measure.seconds}}},
                   {"limits",
                    {{"max-loss", JsonOf(r_.limits.max_loss)},
                     {"max-ms", JsonOf(r_.limits.max_ms)},
                     {"max-bytes", JsonOf(r_.limits.max_bytes)},
                     {"min-smaller", JsonOf(r_.limits.min_smaller)},
                     {"min-faster", JsonOf(r_.limits.min_faster)}}},
                   {"limits_met", best.missed.empty()},
                   {"varied", r_.varied},
                   {"chosen", chosen},
                   {"passes", Json::array()}};
    for (const Pass& pass : passes) report["passes"].push_back(PassJson(pass));
    report["layers"] = {{"reference", best.reference->layers}, {"result", model.layers}};
    report["valid"] = valid.result();
    if (!test.is_null()) report["test"] = std::move(test);
    report["spent"] = {
        {"seconds", spent.wall_seconds},           {"cpu_seconds", spent.cpu_seconds},
        {"seconds_this_run", now.wall_seconds},    {"joules", spent.joules},
        {"joules_measured", spent.measured},       {"co2_grams", Co2(spent, energy)},
        {"watts_per_core", energy.watts_per_core}, {"grid_co2_g_per_kwh", energy.grid_co2}};
    return report;
  }

  Status Deliver(const Pass& pass) {
    std::vector<std::pair<std::string, std::string>> files = pass.files;
    files.emplace_back("model.thimble", pass.model->path);
    for (const auto& [name, path] : files) {
      TRY(const MappedFile bytes, MappedFile::Open(path));
      TRY(AtomicFile file, AtomicFile::Create(o_.folder + "/" + name));
      TRY_VOID(file.Append(bytes.bytes()));
      TRY_VOID(file.Commit());
    }
    return {};
  }

  const Recipe& r_;
  const PipelineOptions& o_;
  Calls calls_;
};

}  // namespace

Result<PipelineResult> RunPipeline(const Recipe& recipe, const PipelineOptions& options) {
  return Pipeline(recipe, options).Run();
}

}  // namespace thimble::pipeline
