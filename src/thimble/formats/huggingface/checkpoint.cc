#include "thimble/formats/huggingface/checkpoint.h"

#include <algorithm>
#include <utility>

#include "thimble/base/file.h"
#include "thimble/base/quote.h"
#include "thimble/base/sha256.h"
#include "thimble/formats/huggingface/json.h"
#include "thimble/formats/safetensors/safetensors.h"
#include "thimble/formats/torch/torch_file.h"

namespace thimble {
namespace {

Result<StoredTensors> OpenSafetensorsTensors(const std::string& path) {
  TRY(SafetensorsFile file, OpenSafetensors(path));
  return std::move(file.tensors);
}

struct WeightFormat {
  const char* file;
  const char* index;
  Result<StoredTensors> (*open)(const std::string& path);
};

// In the order in which Hugging Face looks for them.
constexpr WeightFormat kFormats[] = {
    {"model.safetensors", "model.safetensors.index.json", OpenSafetensorsTensors},
    {"pytorch_model.bin", "pytorch_model.bin.index.json", OpenTorch},
};

// {"weight_map": {tensor: file in the same directory}}, turned around.
Result<std::map<std::string, std::vector<std::string>>> ReadIndex(const std::string& path) {
  TRY(const Json index, ReadJsonObject(path));
  const Json* map = Find(index, "weight_map");
  if (map == nullptr || !map->is_object()) return InvalidData(path + ": has no \"weight_map\"");
  std::map<std::string, std::vector<std::string>> names_by_file;
  for (const auto& [name, file] : map->items()) {
    const std::string* text = file.get_ptr<const std::string*>();
    if (text == nullptr || text->empty() ||
        text->find_first_of(std::string("/\\\0", 3)) != text->npos) {
      return InvalidData(path + ": tensor " + Quoted(name) +
                         " must be in a file of the same directory");
    }
    names_by_file[*text].push_back(name);
  }
  return names_by_file;
}

struct Weights {
  StoredTensors tensors;
  std::vector<std::string> files;
};

Result<Weights> OpenShards(const std::string& directory, const WeightFormat& format) {
  TRY(const auto names_by_file, ReadIndex(directory + "/" + format.index));
  Weights weights;
  for (const auto& [file, names] : names_by_file) {
    const std::string path = directory + "/" + file;
    TRY(StoredTensors shard, format.open(path));
    for (const std::string& name : names) {
      auto tensor = shard.extract(name);
      if (tensor.empty()) {
        return InvalidData(path + ": has no tensor " + Quoted(name) + ", which " + format.index +
                           " says it has");
      }
      weights.tensors.insert(std::move(tensor));
    }
    weights.files.push_back(path);
  }
  return weights;
}

Result<Weights> OpenWeights(const std::string& directory) {
  for (const WeightFormat& format : kFormats) {
    const std::string path = directory + "/" + format.file;
    if (FileExists(path)) {
      TRY(StoredTensors tensors, format.open(path));
      return Weights{std::move(tensors), {path}};
    }
    if (FileExists(directory + "/" + format.index)) return OpenShards(directory, format);
  }
  return NotFound(directory + ": has neither model.safetensors nor pytorch_model.bin");
}

bool IsFloatingPoint(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

bool Fits(const Shape& shape, const Shape& wanted) {
  return std::ranges::equal(shape, wanted,
                            [](int64_t have, int64_t want) { return want == -1 || have == want; });
}

std::string LegacyName(std::string_view name) {
  for (const auto& [now, then] :
       {std::pair<std::string_view, std::string_view>{".weight", ".gamma"}, {".bias", ".beta"}}) {
    if (name.ends_with(now)) {
      return std::string(name.substr(0, name.size() - now.size())).append(then);
    }
  }
  return std::string(name);
}

}  // namespace

Result<Checkpoint> Checkpoint::Open(const std::string& directory) {
  TRY(Weights weights, OpenWeights(directory));
  Checkpoint checkpoint(std::move(weights.tensors));
  checkpoint.files_ = std::move(weights.files);
  return checkpoint;
}

Checkpoint::Checkpoint(StoredTensors tensors) : tensors_(std::move(tensors)) {
  for (const auto& [name, tensor] : tensors_) first_parts_.insert(name.substr(0, name.find('.')));
}

StoredTensors::const_iterator Checkpoint::Resolve(std::string_view name) const {
  const auto find = [&](std::string_view candidate) {
    const auto found = tensors_.find(candidate);
    return found != tensors_.end() ? found : tensors_.find(LegacyName(candidate));
  };
  const auto found = find(name);
  const size_t dot = name.find('.');
  if (found != tensors_.end() || dot == name.npos) return found;
  // "bert.encoder.x" may stand as "encoder.x" only where nothing begins with "bert.".
  return first_parts_.contains(name.substr(0, dot)) ? found : find(name.substr(dot + 1));
}

bool Checkpoint::Has(std::string_view name) const { return Resolve(name) != tensors_.end(); }

Result<Tensor> Checkpoint::Get(std::string_view name, const Shape& shape) {
  const auto stored = Resolve(name);
  if (stored == tensors_.end()) return InvalidData("the checkpoint has no tensor " + Quoted(name));
  if (!Fits(stored->second.shape, shape)) {
    return InvalidData("tensor " + Quoted(stored->first) + " has shape " +
                       ShapeText(stored->second.shape) + ", the configuration asks for " +
                       ShapeText(shape));
  }
  auto loaded = loaded_.find(stored->first);
  if (loaded == loaded_.end()) {
    Result<Tensor> tensor = Load(stored->second);
    if (!tensor) return std::move(tensor).error().In("tensor " + Quoted(stored->first));
    loaded = loaded_.emplace(stored->first, *std::move(tensor)).first;
  }
  if (!IsFloatingPoint(loaded->second.dtype())) {
    return Unsupported("tensor " + Quoted(stored->first) + " has elements of type " +
                       std::string(StoredTypeName(stored->second.type)) +
                       ", weights are floating-point numbers");
  }
  return loaded->second;
}

std::vector<std::string> Checkpoint::UnusedNames() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) {
    if (!loaded_.contains(name)) names.push_back(name);
  }
  return names;
}

Result<std::string> Checkpoint::FileSha256() const {
  if (files_.empty()) return std::string();
  Sha256 hash;
  for (const std::string& path : files_) {
    TRY(const MappedFile file, MappedFile::Open(path));
    hash.Update(file.bytes());
  }
  return std::move(hash).HexDigest();
}

}  // namespace thimble
