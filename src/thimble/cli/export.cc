// thimble export: a model leaves for another runtime.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thimble/base/file.h"
#include "thimble/base/format.h"
#include "thimble/base/quote.h"
#include "thimble/cli/adapter.h"
#include "thimble/cli/check_onnx.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/cli/program.h"
#include "thimble/cli/tflite_ranges.h"
#include "thimble/cli/weights.h"
#include "thimble/formats/huggingface/export.h"
#include "thimble/formats/onnx/export.h"
#include "thimble/formats/tflite/export.h"

namespace thimble::cli {
namespace {

struct ExportOptions {
  std::string model, output, weights, calib;
  size_t samples = 256;
  AdapterOptions adapter;
  OnnxOptions onnx;
  double atol = 0;  // 0: not checked
  TfliteOptions tflite;
  PrunedHeads heads = PrunedHeads::kNamed;
  bool mobile = false, json = false;
};

// What was written, for people and for machines.
struct ExportReport {
  std::string text;
  nlohmann::ordered_json document;
  std::vector<std::string> notes = {};
  size_t bytes = 0;  // of a directory; 0: of the file
};

Result<ExportReport> WriteOnnx(const ExportOptions& options, const Model& model) {
  ExportReport report{"ONNX, opset " + std::to_string(options.onnx.opset),
                      {{"format", "onnx"}, {"opset", options.onnx.opset}}};
  if (options.atol == 0) {
    TRY_VOID(ExportOnnx(model, options.output, options.onnx));
    return report;
  }
  TRY(const auto differences, ExportCheckedOnnx(model, options.output, options.onnx, options.atol));
  for (const OnnxDifference& difference : differences) {
    report.document["largest_difference"][difference.output] = difference.largest;
    report.notes.push_back("ONNX Runtime agrees: " + difference.output + ", largest difference " +
                           FormatNumber("%.2g", difference.largest));
  }
  return report;
}

Result<ExportReport> WriteTflite(const ExportOptions& options, const Model& model) {
  TfliteOptions tflite = options.tflite;
  if (!options.calib.empty()) {
    TRY(tflite.ranges, MeasureTfliteRanges(model, options.calib, options.samples));
  }
  TRY_VOID(ExportTflite(model, options.output, tflite));
  const int64_t sequence = TfliteSequence(model, options.tflite);
  const int64_t batch = options.tflite.batch;
  const std::string length = sequence < 0 ? "any number of" : std::to_string(sequence);
  ExportReport report{"TensorFlow Lite, " + std::to_string(batch) + " x " + length + " tokens",
                      {{"format", "tflite"}, {"batch", batch}, {"sequence", nullptr}}};
  if (sequence >= 0) report.document["sequence"] = sequence;
  return report;
}

Result<ExportReport> WriteHuggingFace(const ExportOptions& options, const Model& model) {
  TRY(HuggingFaceExport written, ExportHuggingFace(model, options.output, options.heads));
  return ExportReport{written.model_class + " for Hugging Face's library",
                      {{"format", "huggingface"},
                       {"class", written.model_class},
                       {"files", written.files},
                       {"notes", written.notes}},
                      std::move(written.notes),
                      written.bytes};
}

// A format by the ending of its files; a directory has none.
struct ExportFormat {
  std::string_view ending;
  Result<ExportReport> (*write)(const ExportOptions&, const Model&);
};
constexpr ExportFormat kExportFormats[] = {
    {".onnx", WriteOnnx}, {".tflite", WriteTflite}, {"", WriteHuggingFace}};

// libtorch writes these, in the other program.
constexpr std::string_view kTorchScriptEndings[] = {".pt", ".ptl"};

std::string EndingOf(const std::string& output) {
  std::error_code error;
  if (std::filesystem::is_directory(output, error)) return "";
  return std::filesystem::path(output).extension().string();  // of "a.b/": none
}

Result<const ExportFormat*> FormatOf(const std::string& output) {
  const std::string ending = EndingOf(output);
  std::string endings;
  for (const ExportFormat& format : kExportFormats) {
    if (format.ending == ending) return &format;
    if (!format.ending.empty()) endings += std::string(format.ending) + ", ";
  }
  for (const std::string_view torch : kTorchScriptEndings) endings += std::string(torch) + ", ";
  return InvalidArgument(
      "-o " + Quoted(output) + ": the name says the format, and there are " + endings +
      "and a directory for Hugging Face's library (no ending, or a / behind the name)");
}

// libtorch is not linked here. Returns only if the other program cannot be started.
Status InTrainProgram(const ExportOptions& options) {
  std::vector<std::string> arguments{"-o", options.output};
  const auto add = [&](const char* option, const std::string& value) {
    if (!value.empty()) arguments.insert(arguments.end(), {option, value});
  };
  add("--adapter", options.adapter.file);
  add("--weights", options.weights);
  if (options.adapter.merge) arguments.emplace_back("--merge-adapter");
  if (options.mobile) arguments.emplace_back("--mobile");
  if (options.json) arguments.emplace_back("--json");
  arguments.insert(arguments.end(), {"--", options.model});
  return RunInTrainProgram("export", std::move(arguments));
}

Status RunExport(const ExportOptions& options) {
  const bool torch = std::ranges::find(kTorchScriptEndings, EndingOf(options.output)) !=
                     std::end(kTorchScriptEndings);
  if (options.mobile && !torch) {
    return InvalidArgument("--mobile is for TorchScript: -o FILE.pt or FILE.ptl");
  }
  if (torch) return InTrainProgram(options);
  TRY(const ExportFormat* format, FormatOf(options.output));
  TRY(Model model, ReadModel(options.model, options.adapter));
  TRY_VOID(ConvertWeights(model, options.weights));
  TRY_VOID(CheckInterrupt());
  Result<ExportReport> report = format->write(options, model);
  if (!report.has_value()) return std::move(report).error().In(options.model);
  size_t bytes = report->bytes;
  if (bytes == 0) {
    TRY(const MappedFile file, MappedFile::Open(options.output));
    bytes = file.bytes().size();
  }
  Output out;
  if (options.json) {
    report->document["file"] = options.output;
    report->document["file_bytes"] = bytes;
    TRY_VOID(out.Line(DumpJson(report->document)));
  } else {
    for (const std::string& note : report->notes) Note(note);
    TRY_VOID(out.Line(options.output + ": " + report->text + ", " +
                      BytesText(static_cast<double>(bytes))));
  }
  return out.Flush();
}

void AddTfliteOptions(CLI::App& app, ExportOptions& options) {
  TfliteOptions& tflite = options.tflite;
  const std::string group = "TensorFlow Lite";
  const auto number = [&](const char* name, auto& value, const char* what) {
    return app.add_option(name, value, what)
        ->check(CLI::PositiveNumber.description(""))
        ->type_name("N")
        ->group(group);
  };
  number("--seq", tflite.sequence,
         "tokens of a sequence (default: 128, for answers 384; the model's maximum where that is "
         "less)");
  app.add_flag("--resizable", tflite.resizable,
               "sequences of any length: the app resizes the inputs")
      ->excludes("--seq")
      ->group(group);
  number("--batch", tflite.batch, "sequences in a batch (default: 1)");
  app.add_flag("--hidden", tflite.hidden, "hidden states as outputs, besides what the task reads")
      ->group(group);
  app.add_flag_callback(
         "--scores", [&tflite] { tflite.logits = TfliteLogits::kScores; },
         "a classifier's output is probabilities, as task libraries show them, not logits")
      ->group(group);
  CLI::Option* calib =
      app.add_option(
             "--calib", options.calib,
             "texts over which the ranges of int8 products are measured; without them int8 weights "
             "take inputs as they come")
          ->type_name("FILE")
          ->group(group);
  number("--samples", options.samples, "texts of --calib that are used (default: 256)")
      ->needs(calib);
  app.add_flag("--int8-outputs", tflite.int8_outputs, "outputs as int8 codes")
      ->needs(calib)
      ->group(group);
}

void AddOnnxOptions(CLI::App& app, ExportOptions& options) {
  OnnxOptions& onnx = options.onnx;
  const std::string group = "ONNX";
  app.add_option("--opset", onnx.opset, "operator set, 13 to 17 (default: 17)")
      ->check(CLI::Range(13, 17).description(""))
      ->type_name("N")
      ->group(group);
  app.add_flag_callback(
         "--unsigned", [&onnx] { onnx.codes = OnnxCodes::kUnsigned; },
         "int8 codes as unsigned bytes: exact in ONNX Runtime on processors without VNNI, and "
         "slower")
      ->group(group);
  app.add_flag_callback(
         "--qdq", [&onnx] { onnx.static_form = OnnxStatic::kQdq; },
         "static int8 as QuantizeLinear and DequantizeLinear around MatMul, which other tools read")
      ->group(group);
  app.add_option("--atol", options.atol,
                 "run the file in ONNX Runtime (npm's onnxruntime-node) and write it only if no "
                 "output differs from ours by more than this, else exit with 4")
      ->check(CLI::PositiveNumber.description(""))
      ->type_name("X")
      ->group(group);
}

}  // namespace

Action SetupExport(CLI::App& app) {
  auto options = std::make_shared<ExportOptions>();
  app.add_option("MODEL", options->model, "a .thimble file")->required();
  app.add_option("-o,--output", options->output,
                 "what to write; its name says the format: FILE.onnx, FILE.tflite, FILE.pt or "
                 "FILE.ptl for TorchScript, or DIR for a directory that Hugging Face's library "
                 "loads")
      ->required()
      ->type_name("FILE|DIR");
  AddAdapterOptions(app, options->adapter);
  AddWeightsOption(app, options->weights);
  AddOnnxOptions(app, *options);
  AddTfliteOptions(app, *options);
  app.add_flag_callback(
         "--zero-heads", [options] { options->heads = PrunedHeads::kZeros; },
         "pruned heads stay as zeros, for versions of the library from 5 on, which do not read "
         "pruned_heads")
      ->group("Hugging Face directory");
  app.add_flag("--mobile", options->mobile,
               "for PyTorch Mobile's interpreter, which FILE.ptl is anyway")
      ->group("TorchScript");
  app.add_flag("--json", options->json, "one JSON document that says what was written");
  return [options] { return RunExport(*options); };
}

}  // namespace thimble::cli
