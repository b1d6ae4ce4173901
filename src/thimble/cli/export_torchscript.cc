// thimble export -o FILE.pt or FILE.ptl, as `thimble` passes it on.
#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "thimble/cli/adapter.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/cli/weights.h"
#include "thimble/train/torchscript.h"

namespace thimble::cli {
namespace {

struct TorchScriptExport {
  std::string model, output, weights;
  AdapterOptions adapter;
  bool mobile = false, json = false;
};

Status RunTorchScript(const TorchScriptExport& options) {
  TRY(Model model, ReadModel(options.model, options.adapter));
  TRY_VOID(ConvertWeights(model, options.weights));
  TRY_VOID(CheckInterrupt());
  const bool mobile = options.mobile || options.output.ends_with(".ptl");
  Result<size_t> bytes = train::ExportTorchScript(model, options.output, {.mobile = mobile});
  if (!bytes) return std::move(bytes).error().In(options.model);
  Output out;
  if (options.json) {
    TRY_VOID(out.Line(DumpJson({{"file", options.output},
                                {"format", "torchscript"},
                                {"mobile", mobile},
                                {"file_bytes", *bytes}})));
  } else {
    TRY_VOID(out.Line(options.output + ": TorchScript" + (mobile ? " for PyTorch Mobile" : "") +
                      ", " + BytesText(static_cast<double>(*bytes))));
  }
  return out.Flush();
}

}  // namespace

Action SetupExportTorchScript(CLI::App& app) {
  auto options = std::make_shared<TorchScriptExport>();
  app.add_option("MODEL", options->model, "a .thimble file")->required();
  app.add_option("-o,--output", options->output, "the file to write")
      ->required()
      ->type_name("FILE");
  AddAdapterOptions(app, options->adapter);
  AddWeightsOption(app, options->weights);
  app.add_flag("--mobile", options->mobile, "for PyTorch Mobile's interpreter");
  app.add_flag("--json", options->json, "one JSON document that says what was written");
  return [options] { return RunTorchScript(*options); };
}

}  // namespace thimble::cli
