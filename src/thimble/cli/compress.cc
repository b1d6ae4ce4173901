// thimble compress: a recipe of steps, each a call of this program, and a report of what they cost and brought.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "thimble/base/format.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/pipeline/html_report.h"
#include "thimble/pipeline/pipeline.h"
#include "thimble/pipeline/process.h"
#include "thimble/targets/machine.h"

namespace thimble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct CompressCall {
  std::string recipe, output, charts;
  std::vector<std::string> files, values;
  bool resume = false, force = false, json = false;
};

std::string Right(std::string cell, size_t width) {
  return std::string(width - std::min(width, cell.size()), ' ') + cell;
}

std::string Left(std::string cell, size_t width) {
  cell.resize(std::max(width, cell.size()), ' ');
  return cell;
}

std::string ModelCells(const Json& model) {
  return Right(FormatNumber("%.2f", model["file_bytes"].get<double>() / (1 << 20)), 9) +
         Right(FormatNumber("%.3f", model["p50_ms"]), 10) +
         Right(model.contains("score") ? FormatNumber("%.4f", model["score"]) : "", 9);
}

// A row per step, then what came of it.
std::string Table(const Json& report) {
  const Json& pass = report["passes"][report["chosen"].get<size_t>()];
  size_t wide = 4;
  for (const Json& step : pass["steps"]) {
    wide = std::max(wide, step["name"].get_ref<const std::string&>().size());
  }
  const std::string metric = report["metric"];
  std::string text = Left("step", wide) + Right("MiB", 9) + Right("ms", 10) + Right("score", 9) +
                     Right("loss", 9) + Right("s", 9) + "\n";
  for (const Json& step : pass["steps"]) {
    double seconds = 0;
    for (const Json& attempt : step["attempts"]) seconds += attempt["seconds"].get<double>();
    std::string row = Left(step["name"], wide);
    row += step.contains("model") ? ModelCells(step["model"]) : std::string(28, ' ');
    row += Right(
        step.contains("loss") ? FormatNumber("%.2f %%", 100 * step["loss"].get<double>()) : "", 9);
    row += Right(FormatNumber("%.1f", seconds), 9);
    if (step["decision"] == "rolled back") {
      row += "   rolled back: " + step["reason"].get<std::string>();
    } else if (step["decision"] == "part") {
      row += "   a part for later steps";
    }
    text += row + "\n";
  }
  const Json& result = pass["result"];
  text += "\n" + metric + " " + FormatNumber("%.4f", pass["reference"]["score"]) + " -> " +
          FormatNumber("%.4f", result["score"]) +
          FormatNumber(" on the validation set (loss %.2f %%)", 100 * result["loss"].get<double>());
  if (report.contains("test")) {
    text += ", " + FormatNumber("%.4f", report["test"]["metrics"][metric]) + " on the test set";
  }
  return text + "\n" + FormatNumber("%.2f times smaller, ", result["smaller"]) +
         FormatNumber("%.2f times faster\n", result["faster"]);
}

Result<pipeline::NamedTexts> Named(const std::vector<std::string>& given, const char* option,
                                   const char* wanted) {
  pipeline::NamedTexts texts;
  for (const std::string& text : given) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
      return InvalidArgument(std::string(option) + " " + text + ": it is name=" + wanted);
    }
    texts.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return texts;
}

Status RunCompress(const CompressCall& call) {
  TRY(const auto files, Named(call.files, "--file", "PATH"));
  TRY(const auto values, Named(call.values, "--set", "VALUE"));
  TRY(const pipeline::Recipe recipe, pipeline::ReadRecipe(call.recipe, files, values));
  std::error_code error;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (error) return IoError("/proc/self/exe: " + error.message());
  TRY(const pipeline::PipelineResult result,
      pipeline::RunPipeline(recipe, {.folder = call.output,
                                     .version = THIMBLE_VERSION,
                                     .machine = ProcessorName(),
                                     .resume = call.resume,
                                     .force = call.force,
                                     .run =
                                         [&](std::vector<std::string> arguments,
                                             const std::string& out, const std::string& log) {
                                           arguments.insert(arguments.begin(), self);
                                           return pipeline::RunProcess(arguments, out, log,
                                                                       CheckInterrupt);
                                         },
                                     .tell = [](const std::string& line) { Note(line); },
                                     .check_interrupt = CheckInterrupt}));
  const std::string page = call.output + "/report.html";
  TRY_VOID(pipeline::WriteHtmlReport(pipeline::ReportKind::kCompression, result.report, call.charts,
                                     page));
  TRY_VOID(PrintText(call.json ? DumpJson(result.report) + "\n"
                               : Table(result.report) + "report: " + page + "\n"));
  if (result.met) return {};
  return Error(
      ErrorCode::kLimitNotMet,
      "the result " + result.missed +
          (call.force ? " (written all the same)"
                      : "; the report says what each step cost (--force writes the model)"));
}

}  // namespace

Action SetupCompress(CLI::App& app) {
  auto call = std::make_shared<CompressCall>();
  CompressCall& o = *call;
  app.add_option("RECIPE", o.recipe, "the steps, as TOML (docs/pipeline.md)")->required();
  app.add_option("-o,--output", o.output, "folder for the model, device files, report, and steps")
      ->required()
      ->type_name("DIR");
  app.add_option("--file", o.files, "name=PATH: a file of the recipe is there; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--set", o.values, "name=VALUE: a value of the recipe is this; may be repeated")
      ->allow_extra_args(false);
  app.add_flag("--resume", o.resume,
               "go on inside the step that was interrupted; finished steps are kept in any case");
  app.add_option("--charts", o.charts,
                 "folder of the npm package uplot: its charts are put into report.html");
  app.add_flag("--force", o.force, "write the model even if it misses a limit");
  app.add_flag("--json", o.json, "the report as one JSON document");
  return [call] { return RunCompress(*call); };
}

}  // namespace thimble::cli
