#include "thimble/cli/prune_movement.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "thimble/base/file.h"
#include "thimble/cli/console.h"
#include "thimble/cli/score.h"
#include "thimble/cli/training_run.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/passes/passes.h"

namespace thimble::cli {
namespace {

using Json = nlohmann::ordered_json;

Json PruningOf(const Model& model) {
  for (const auto& [key, value] : model.provenance) {
    if (key == "pruning") return Json::parse(value, nullptr, false);
  }
  return {};
}

// Rewrites the file without the blocks of zeros that its matrices still have.
Result<Model> StoredBlockSparse(const std::string& path) {
  TRY(Model model, ReadThimble(path));
  TRY(model.graph, RunPass(*FindPass("weights_to_block_sparse"), model.graph));
  TRY_VOID(WriteThimble(model, path));
  return ReadThimble(path);
}

std::string Table(const Json& report) {
  const auto text = [](const char* format, auto... values) {
    char line[160];
    std::snprintf(line, sizeof line, format, values...);
    return std::string(line);
  };
  std::string table = text("%-40s %6s %6s  %s\n", "structure", "units", "of", "zeros left");
  for (const auto& [name, size] : report["pruning"]["sizes"].items()) {
    table += text("%-40s %6d %6d  %5.1f %%\n", name.c_str(), size["units"].get<int>(),
                  size["dense_units"].get<int>(), 100 * size["zeros"].get<double>());
  }
  table += text("speedup %.2fx (%.3f ms, dense %.3f ms)\n", report["speedup"].get<double>(),
                report["p50_ms"].get<double>(), report["dense_p50_ms"].get<double>());
  if (report.contains("score")) {
    table += text("%s %.4f, dense %.4f\n", report["metric"].get<std::string>().c_str(),
                  report["score"].get<double>(), report["dense_score"].get<double>());
  }
  return table + "written to " + report["file"].get<std::string>() + "\n";
}

}  // namespace

Status RunMovement(MovementCall call) {
  TRY(const Model dense, ReadThimble(call.training.start.model));
  std::error_code error;
  std::filesystem::create_directories(call.output, error);
  if (error) return IoError(call.output + ": " + error.message());
  const std::filesystem::path folder(call.output);
  const std::string path = (folder / "pruned.thimble").string();
  const std::string compacted = (folder / "compacted.thimble").string();
  const bool fills = call.fill_epochs > 0;
  TrainingCall training = call.training;
  training.output = fills ? compacted : path;
  training.cache = (folder / "teacher").string();
  training.silent = true;
  TRY_VOID(RunTraining(training));
  TRY(const Model cut, ReadThimble(training.output));
  Json report = {{"model", call.training.start.model}, {"pruning", PruningOf(cut)}};
  if (fills) {
    training.movement.reset();
    training.start.model = compacted;
    training.output = path;
    training.trainer.epochs = call.fill_epochs;
    TRY_VOID(RunTraining(training));
    report["fill_epochs"] = call.fill_epochs;
  }

  TRY(const Model pruned, StoredBlockSparse(path));
  TRY(const compress::Speedup speedup, compress::MeasureSpeedup(dense, pruned.graph, call.timing));
  report["seq"] = call.timing.tokens;
  report["batch"] = call.timing.batch;
  report["threads"] = call.timing.threads;
  report["speedup"] = speedup.factor;
  report["p50_ms"] = 1e3 * speedup.seconds;
  report["dense_p50_ms"] = 1e3 * speedup.dense_seconds;
  if (!call.training.valid.empty()) {
    TRY(const Dataset valid, ReadFor(dense, call.training.valid));
    TRY(const Score before, ScoreOn(dense, valid, call.training.metric, call.timing.threads));
    TRY(const Score after, ScoreOn(pruned, valid, call.training.metric, call.timing.threads));
    report["metric"] = after.metric;
    report["dense_score"] = before.value;
    report["score"] = after.value;
  }
  report["file"] = path;
  report["file_bytes"] = std::filesystem::file_size(path, error);
  TRY(AtomicFile file, AtomicFile::Create((folder / "report.json").string()));
  TRY_VOID(file.Append(report.dump(2) + "\n"));
  TRY_VOID(file.Commit());
  return PrintText(call.json ? report.dump() + "\n" : Table(report));
}

}  // namespace thimble::cli
