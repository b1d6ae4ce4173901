#include "thimble/formats/tfjs/tfjs_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "thimble/base/file.h"
#include "thimble/base/quote.h"
#include "thimble/base/sha256.h"
#include "thimble/formats/tfjs/json.h"

namespace thimble {
namespace {

using nlohmann::json;

constexpr size_t kMaxJsonBytes = size_t{64} << 20;
constexpr size_t kMaxRank = 8;

// A file beside model.json, nothing else: no folders, no way up, no hidden end of the text.
Status CheckFileName(const std::string& name) {
  const bool plain =
      !name.empty() && name != "." && name != ".." &&
      std::none_of(name.begin(), name.end(), [](char c) {
        return c == '/' || c == '\\' || c == ':' || static_cast<unsigned char>(c) < 0x20;
      });
  if (plain) return {};
  return InvalidData("weightsManifest: the path " + Quoted(name) +
                     " is not the name of a file beside model.json");
}

Result<Shape> ReadShape(const json& weight) {
  TRY(const json* dims, Field(weight, "shape", json::value_t::array));
  if (dims->size() > kMaxRank) return InvalidData("\"shape\" has more than 8 dimensions");
  Shape shape;
  for (const json& dim : *dims) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > uint64_t{1} << 40) {
      return InvalidData("\"shape\" has a dimension that is not a size");
    }
    shape.push_back(dim.get<int64_t>());
  }
  return shape;
}

Result<double> ReadNumber(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number() || !std::isfinite(found->get<double>())) {
    return InvalidData("\"quantization\" has no number \"" + std::string(key) + "\"");
  }
  return found->get<double>();
}

Error NoWeight(std::string_view name) { return NotFound("there is no weight " + Quoted(name)); }

template <class Stored, class Value>
void Dequantize(const std::vector<std::byte>& from, double scale, double min, Value* to) {
  for (size_t i = 0; i < from.size() / sizeof(Stored); ++i) {
    Stored stored;
    std::memcpy(&stored, from.data() + i * sizeof(Stored), sizeof(Stored));
    const double value = stored * scale + min;
    if constexpr (std::is_integral_v<Value>) {
      constexpr double kLeast = std::numeric_limits<Value>::min();
      constexpr double kMost = std::numeric_limits<Value>::max();
      to[i] = static_cast<Value>(std::clamp(std::floor(value + 0.5), kLeast, kMost));
    } else {
      to[i] = static_cast<Value>(value);
    }
  }
}

}  // namespace

class TfjsModel::Parser {
 public:
  Parser(TfjsModel& model, const FileOpener& open) : model_(model), open_(open) {}

  Status Topology(const json& root) {
    TRY(const json* topology, Field(root, "modelTopology", json::value_t::object));
    if (topology->contains("model_config")) {
      return Unsupported("this is a TensorFlow.js layers model; only graph models are read");
    }
    TRY(const json* nodes, Field(*topology, "node", json::value_t::array));
    for (const json& stored : *nodes) {
      TfjsNode node;
      TRY(node.op, TextField(stored, "op"));
      TRY(node.name, TextField(stored, "name"));
      if (const auto inputs = stored.find("input"); inputs != stored.end()) {
        if (!inputs->is_array()) return InvalidData("\"input\" is not a list");
        for (const json& input : *inputs) {
          if (!input.is_string()) return InvalidData("an input is not a name");
          node.inputs.push_back(input.get<std::string>());
        }
      }
      model_.nodes_.push_back(std::move(node));
    }
    return {};
  }

  Status Weights(const json& root) {
    TRY(const json* manifest, Field(root, "weightsManifest", json::value_t::array));
    for (const json& group : *manifest) {
      TRY(const size_t available, OpenFiles(group));
      TRY(const json* weights, Field(group, "weights", json::value_t::array));
      size_t used = 0;
      for (const json& weight : *weights) {
        TRY(std::string name, TextField(weight, "name"));
        Status added = AddWeight(weight, name, available, used);
        if (!added.has_value()) return std::move(added).error().In("weight " + Quoted(name));
      }
      if (used != available) {
        return InvalidData("the files of the weights have " + std::to_string(available) +
                           " bytes, model.json lists weights of " + std::to_string(used) +
                           "; are the files of one download?");
      }
    }
    return {};
  }

 private:
  // Opens the files of a group and gives their size in sum.
  Result<size_t> OpenFiles(const json& group) {
    TRY(const json* paths, Field(group, "paths", json::value_t::array));
    model_.groups_.emplace_back();
    size_t bytes = 0;
    for (const json& path : *paths) {
      if (!path.is_string()) return InvalidData("weightsManifest: a path is not a text");
      const auto name = path.get<std::string>();
      TRY_VOID(CheckFileName(name));
      TRY(File file, open_(name));
      bytes += file.bytes.size();
      model_.groups_.back().push_back(std::move(file));
    }
    return bytes;
  }

  Status AddWeight(const json& weight, const std::string& name, size_t available, size_t& used) {
    Entry entry;
    TRY(entry.shape, ReadShape(weight));
    TRY(const size_t stored_bytes, ReadCoding(weight, entry));
    const std::optional<size_t> elements = ElementCount(entry.shape);
    // Compared by dividing, so that no product can overflow.
    if (!elements.has_value() || *elements > (available - used) / stored_bytes) {
      return InvalidData(ShapeText(entry.shape) + " needs more bytes than its files have");
    }
    entry.elements = *elements;
    entry.group = model_.groups_.size() - 1;
    entry.begin = used;
    entry.bytes = *elements * stored_bytes;
    used += entry.bytes;
    if (!model_.weights_.emplace(name, std::move(entry)).second) {
      return InvalidData("is listed twice");
    }
    return {};
  }

  // Fills in type and coding; gives the bytes of one stored element.
  Result<size_t> ReadCoding(const json& weight, Entry& entry) {
    TRY(const std::string dtype, TextField(weight, "dtype"));
    if (dtype == "float32") {
      entry.dtype = DType::kF32;
    } else if (dtype == "int32") {
      entry.dtype = DType::kI32;
    } else if (dtype == "bool") {
      entry.dtype = DType::kU8;
    } else {
      return Unsupported("its type " + Quoted(dtype) + " is not read");
    }
    const auto quantization = weight.find("quantization");
    if (quantization == weight.end()) return DTypeBytes(entry.dtype);
    TRY(const std::string stored, TextField(*quantization, "dtype"));
    if (stored == "float16" && entry.dtype == DType::kF32) {
      entry.dtype = DType::kF16;
      return DTypeBytes(entry.dtype);
    }
    if ((stored != "uint8" && stored != "uint16") || entry.dtype == DType::kU8) {
      return Unsupported("its quantization " + Quoted(stored) + " of " + dtype + " is not read");
    }
    entry.coding = stored == "uint8" ? Coding::kLinear8 : Coding::kLinear16;
    TRY(entry.scale, ReadNumber(*quantization, "scale"));
    TRY(entry.min, ReadNumber(*quantization, "min"));
    return stored == "uint8" ? size_t{1} : size_t{2};
  }

  TfjsModel& model_;
  const FileOpener& open_;
};

Result<TfjsModel> TfjsModel::Parse(std::string_view text, const FileOpener& open) {
  const json root = json::parse(text, nullptr, false);
  if (!root.is_object()) return InvalidData("is not a JSON object");
  TfjsModel model;
  Parser parser(model, open);
  TRY_VOID(parser.Topology(root));
  TRY_VOID(parser.Weights(root));
  return model;
}

Result<TfjsModel> TfjsModel::Open(const std::string& directory) {
  const std::string path = directory + "/model.json";
  TRY(const std::string text, ReadFile(path, kMaxJsonBytes));
  Result<TfjsModel> model = Parse(text, [&](const std::string& name) -> Result<File> {
    TRY(const MappedFile file, MappedFile::Open(directory + "/" + name));
    return File{file.bytes(), file.owner()};
  });
  if (!model.has_value()) return std::move(model).error().In(path);
  return model;
}

size_t TfjsModel::CountOps(std::string_view op) const {
  return static_cast<size_t>(
      std::count_if(nodes_.begin(), nodes_.end(), [&](const TfjsNode& n) { return n.op == op; }));
}

const TfjsNode* TfjsModel::FindNode(std::string_view name) const {
  const auto found = std::find_if(nodes_.begin(), nodes_.end(),
                                  [&](const TfjsNode& node) { return node.name == name; });
  return found == nodes_.end() ? nullptr : &*found;
}

Result<Shape> TfjsModel::ShapeOf(std::string_view name) const {
  const auto found = weights_.find(name);
  if (found == weights_.end()) return NoWeight(name);
  return found->second.shape;
}

std::string TfjsModel::FilesSha256() const {
  Sha256 hash;
  for (const std::vector<File>& group : groups_) {
    for (const File& file : group) hash.Update(file.bytes);
  }
  return std::move(hash).HexDigest();
}

std::vector<std::byte> TfjsModel::Read(const Entry& entry) const {
  std::vector<std::byte> bytes;
  bytes.reserve(entry.bytes);
  size_t file_begin = 0;
  for (const File& file : groups_[entry.group]) {
    const size_t begin = std::max(entry.begin, file_begin);
    const size_t end = std::min(entry.begin + entry.bytes, file_begin + file.bytes.size());
    if (begin < end) {
      const auto part = file.bytes.subspan(begin - file_begin, end - begin);
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    file_begin += file.bytes.size();
  }
  return bytes;
}

Result<Tensor> TfjsModel::Get(std::string_view name, const Shape& shape) {
  const auto found = weights_.find(name);
  if (found == weights_.end()) return NoWeight(name);
  const Entry& entry = found->second;
  const bool fits =
      std::equal(shape.begin(), shape.end(), entry.shape.begin(), entry.shape.end(),
                 [](int64_t wanted, int64_t stored) { return wanted == -1 || wanted == stored; });
  if (!fits) {
    return InvalidData("weight " + Quoted(name) + " is " + ShapeText(entry.shape) + ", not " +
                       ShapeText(shape));
  }
  const std::vector<std::byte> bytes = Read(entry);
  if (entry.coding == Coding::kPlain) return Tensor::Copy(entry.dtype, entry.shape, bytes);
  const auto decode = [&](auto* to) {
    entry.coding == Coding::kLinear8 ? Dequantize<uint8_t>(bytes, entry.scale, entry.min, to)
                                     : Dequantize<uint16_t>(bytes, entry.scale, entry.min, to);
  };
  if (entry.dtype == DType::kF32) {
    std::vector<float> values(entry.elements);
    decode(values.data());
    return Tensor::FromFloats(entry.shape, values);
  }
  std::vector<int32_t> values(entry.elements);
  decode(values.data());
  return Tensor::Copy(entry.dtype, entry.shape, std::as_bytes(std::span(values)));
}

}  // namespace thimble
