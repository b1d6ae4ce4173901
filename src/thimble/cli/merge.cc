// thimble merge: a model and an adapter of it become one file.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "thimble/base/file.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/cli/weights.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/passes/passes.h"

namespace thimble::cli {
namespace {

struct MergeOptions {
  std::string base, adapter, output, weights;
  bool json = false;
};

Status RunMerge(const MergeOptions& options) {
  TRY(const Model base, ReadThimble(options.base));
  TRY(Model model, ReadAdapter(options.adapter, base));
  // int8 weights take no adapter in; where the type to write is given they are widened first.
  if (!options.weights.empty()) {
    TRY(model.graph, WeightsToF32(model.graph));
  }
  Result<Graph> merged = MergeLora(model.graph);
  if (!merged) {
    const std::string& message = merged.error().message();
    return Error(merged.error().code(), options.base + ": " + message +
                                            " or say with --weights as what to write the result");
  }
  model.graph = *std::move(merged);
  TRY_VOID(ConvertWeights(model, options.weights));
  TRY_VOID(CheckInterrupt());
  TRY_VOID(WriteThimble(model, options.output));

  TRY(const MappedFile file, MappedFile::Open(options.output));
  const size_t bytes = file.bytes().size();
  const int64_t parameters = ComputeCost(model.graph, {}).parameters;
  Output out;
  TRY_VOID(out.Line(options.json ? DumpJson({{"file", options.output},
                                             {"file_bytes", bytes},
                                             {"task", TaskName(model.task)},
                                             {"labels", model.labels},
                                             {"parameters", parameters}})
                                 : options.output + ": " + std::string(TaskName(model.task)) +
                                       ", " + CountText(static_cast<double>(parameters)) +
                                       " parameters, " + BytesText(static_cast<double>(bytes))));
  return out.Flush();
}

}  // namespace

Action SetupMerge(CLI::App& app) {
  auto options = std::make_shared<MergeOptions>();
  app.add_option("MODEL", options->base, "a .thimble file")->required();
  app.add_option("ADAPTER", options->adapter, "an adapter of it")->required();
  app.add_option("-o,--output", options->output, "the .thimble file to write")
      ->required()
      ->type_name("FILE");
  AddWeightsOption(app, options->weights);
  app.add_flag("--json", options->json, "one JSON document that says what was written");
  return [options] { return RunMerge(*options); };
}

}  // namespace thimble::cli
