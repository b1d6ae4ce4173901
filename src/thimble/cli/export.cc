// thimble export: a model leaves for another runtime.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "thimble/base/file.h"
#include "thimble/base/quote.h"
#include "thimble/cli/adapter.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/cli/weights.h"
#include "thimble/formats/onnx/export.h"

namespace thimble::cli {
namespace {

struct ExportOptions {
  std::string model, output, weights;
  AdapterOptions adapter;
  OnnxOptions onnx;
  bool json = false;
};

Status RunExport(const ExportOptions& options) {
  const std::string format = std::filesystem::path(options.output).extension().string();
  if (format != ".onnx") {
    return InvalidArgument("-o " + Quoted(options.output) +
                           ": the name says the format, and .onnx is the one there is");
  }
  TRY(Model model, ReadModel(options.model, options.adapter));
  TRY_VOID(ConvertWeights(model, options.weights));
  TRY_VOID(CheckInterrupt());
  if (Status status = ExportOnnx(model, options.output, options.onnx); !status.has_value()) {
    return std::move(status).error().In(options.model);
  }
  TRY(const MappedFile file, MappedFile::Open(options.output));
  const size_t bytes = file.bytes().size();
  Output out;
  if (options.json) {
    TRY_VOID(out.Line(DumpJson({{"file", options.output},
                                {"format", "onnx"},
                                {"opset", options.onnx.opset},
                                {"file_bytes", bytes}})));
  } else {
    TRY_VOID(out.Line(options.output + ": ONNX, opset " + std::to_string(options.onnx.opset) +
                      ", " + BytesText(static_cast<double>(bytes))));
  }
  return out.Flush();
}

}  // namespace

Action SetupExport(CLI::App& app) {
  auto options = std::make_shared<ExportOptions>();
  app.add_option("MODEL", options->model, "a .thimble file")->required();
  app.add_option("-o,--output", options->output,
                 "the file to write; its ending says the format: .onnx")
      ->required()
      ->type_name("FILE");
  AddAdapterOptions(app, options->adapter);
  AddWeightsOption(app, options->weights);
  app.add_option("--opset", options->onnx.opset, "ONNX operator set, 13 to 17 (default: 17)")
      ->check(CLI::Range(13, 17).description(""))
      ->type_name("N");
  app.add_flag_callback(
      "--unsigned", [options] { options->onnx.codes = OnnxCodes::kUnsigned; },
      "int8 codes as unsigned bytes: exact in ONNX Runtime on processors without VNNI, and slower");
  app.add_flag("--json", options->json, "one JSON document that says what was written");
  return [options] { return RunExport(*options); };
}

}  // namespace thimble::cli
