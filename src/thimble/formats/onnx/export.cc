#include "thimble/formats/onnx/export.h"

#include "thimble/base/file.h"
#include "thimble/formats/onnx/emitter.h"

namespace thimble {
namespace {

Status Write(const Model& model, const OnnxOptions& options, const OnnxWriter::Sink& sink) {
  if (options.opset < 13 || options.opset > 17) {
    return InvalidArgument("opset " + std::to_string(options.opset) +
                           " cannot be written: choose 13 to 17");
  }
  TRY_VOID(Verify(model.graph));
  OnnxWriter onnx = OnnxEmitter(model.graph, options).Emit();
  onnx.Metadata("thimble.architecture", model.architecture);
  onnx.Metadata("thimble.task", TaskName(model.task));
  for (size_t i = 0; i < model.labels.size(); ++i) {
    onnx.Metadata("thimble.label." + std::to_string(i), model.labels[i]);
  }
  for (const auto& [key, text] : model.provenance) {
    onnx.Metadata("thimble.provenance." + key, text);
  }
  return std::move(onnx).Finish(model.architecture, options.opset, sink);
}

}  // namespace

Status ExportOnnx(const Model& model, const std::string& path, const OnnxOptions& options) {
  TRY(AtomicFile file, AtomicFile::Create(path));
  TRY_VOID(Write(model, options, [&](std::string_view bytes) { return file.Append(bytes); }));
  return file.Commit();
}

Result<std::string> SerializeOnnx(const Model& model, const OnnxOptions& options) {
  std::string file;
  TRY_VOID(Write(model, options, [&](std::string_view bytes) {
    file += bytes;
    return Status();
  }));
  return file;
}

}  // namespace thimble
