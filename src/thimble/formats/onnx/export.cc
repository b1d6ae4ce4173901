#include "thimble/formats/onnx/export.h"

#include "thimble/base/file.h"
#include "thimble/formats/onnx/emitter.h"
#include "thimble/formats/onnx/metadata.h"

namespace thimble {
namespace {

Status Write(const Model& model, const OnnxOptions& options, const OnnxWriter::Sink& sink) {
  if (options.opset < 13 || options.opset > 17) {
    return InvalidArgument("opset " + std::to_string(options.opset) +
                           " cannot be written: choose 13 to 17");
  }
  TRY_VOID(Verify(model.graph));
  OnnxWriter onnx = OnnxEmitter(model.graph, options).Emit();
  WriteOnnxMetadata(model,
                    [&](std::string_view key, std::string_view text) { onnx.Metadata(key, text); });
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
