#include "thimble/formats/huggingface/export.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "thimble/base/directory.h"
#include "thimble/base/file.h"
#include "thimble/formats/huggingface/write_config.h"
#include "thimble/formats/huggingface/write_tokenizer.h"
#include "thimble/models/architecture.h"

namespace thimble {
namespace {

// All that an export may leave, for the next one to replace.
constexpr std::string_view kFiles[] = {
    "README.md",      "config.json",           "model.safetensors", "special_tokens_map.json",
    "tokenizer.json", "tokenizer_config.json", "vocab.txt",
};

Status WriteText(const std::string& path, const std::string& text) {
  TRY(AtomicFile file, AtomicFile::Create(path));
  TRY_VOID(file.Append(text));
  return file.Commit();
}

// The last part of a path, or what the directory is called that it means (".").
std::string NameOf(const std::string& directory) {
  std::error_code error;
  const auto path = std::filesystem::absolute(directory, error).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

}  // namespace

Result<HuggingFaceExport> ExportHuggingFace(const Model& model, const std::string& directory,
                                            PrunedHeads heads) {
  TRY(const WrittenWeights weights, WriteWeights(model, heads));
  HuggingFaceExport result;
  TRY(result.model_class, ModelClass(model, weights.config));
  const auto type = weights.config["model_type"].get<std::string>();
  std::map<std::string, std::string> texts =
      WriteTokenizerFiles(model.tokenizer, HuggingFaceClassPrefix(type));
  texts["config.json"] = WriteConfig(model, weights, result.model_class)
                             .dump(2, ' ', false, Json::error_handler_t::replace) +
                         "\n";
  texts["README.md"] = WriteModelCard(model, weights, result.model_class, NameOf(directory));

  TRY(AtomicDirectory out, AtomicDirectory::Create(directory, kFiles));
  const std::string weights_path = out.temporary() + "/model.safetensors";
  // Readers of the original refuse a file that does not say whose tensors these are.
  TRY_VOID(WriteSafetensors(weights_path, weights.tensors, {{"format", "pt"}}));
  std::error_code error;
  result.bytes = static_cast<size_t>(std::filesystem::file_size(weights_path, error));
  for (const auto& [name, text] : texts) {
    TRY_VOID(WriteText(out.temporary() + "/" + name, text));
    result.bytes += text.size();
    result.files.push_back(name);
  }
  result.files.emplace_back("model.safetensors");
  std::ranges::sort(result.files);
  result.notes = weights.notes;
  TRY_VOID(out.Commit());
  return result;
}

}  // namespace thimble
