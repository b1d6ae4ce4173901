#include "thimble/formats/onnx/onnx_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <queue>
#include <unordered_map>

#include "thimble/base/quote.h"
#include "thimble/formats/onnx/onnx_fields.h"
#include "thimble/formats/onnx/protobuf_reader.h"

namespace thimble {
namespace {

namespace fields = onnx_fields;

constexpr size_t kMaxRank = 16;

Result<std::pair<std::string, std::string>> KeyAndValue(ProtoReader reader) {
  std::pair<std::string, std::string> entry;
  for (;;) {
    TRY(const bool more, reader.Next());
    if (!more) return entry;
    if (reader.field() == fields::entry::kKey) entry.first = reader.Text();
    if (reader.field() == fields::entry::kValue) entry.second = reader.Text();
  }
}

// Numbers that stand in a field of their own, as the bytes of the tensor's type.
template <class Stored>
std::shared_ptr<std::vector<std::byte>> Narrowed(const std::vector<int64_t>& numbers) {
  auto bytes = std::make_shared<std::vector<std::byte>>(numbers.size() * sizeof(Stored));
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto stored = static_cast<Stored>(numbers[i]);
    std::memcpy(bytes->data() + i * sizeof(Stored), &stored, sizeof(Stored));
  }
  return bytes;
}

template <class T>
std::shared_ptr<std::vector<std::byte>> Copied(const std::vector<T>& numbers) {
  const auto bytes = std::as_bytes(std::span(numbers));
  return std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
}

std::shared_ptr<std::vector<std::byte>> OfType(size_t bytes, const std::vector<int64_t>& numbers) {
  switch (bytes) {
    case 1:
      return Narrowed<uint8_t>(numbers);
    case 2:
      return Narrowed<uint16_t>(numbers);
    case 4:
      return Narrowed<uint32_t>(numbers);
    default:
      return Narrowed<uint64_t>(numbers);
  }
}

bool LeavesTheFolder(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.find('\\') != path.npos ||
      path.find('\0') != path.npos) {
    return true;
  }
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    if (path.substr(begin, end - begin) == "..") return true;
    begin = end + 1;
  }
  return false;
}

std::optional<uint64_t> Decimal(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

class Parser {
 public:
  Parser(std::shared_ptr<const void> owner, const OnnxExternalOpener& open)
      : owner_(std::move(owner)), open_(open) {}

  Result<OnnxFile> Model(std::span<const std::byte> bytes) {
    std::optional<std::span<const std::byte>> graph;
    ProtoReader reader(bytes);
    for (;;) {
      TRY(const bool more, reader.Next());
      if (!more) break;
      if (reader.field() == fields::model::kGraph) graph = reader.Bytes();
      if (reader.field() == fields::model::kProducerName) file_.producer = reader.Text();
      if (reader.field() == fields::model::kOpsetImport)
        TRY_VOID(Opset(ProtoReader(reader.Bytes())));
      if (reader.field() == fields::model::kMetadata) {
        TRY(auto entry, KeyAndValue(ProtoReader(reader.Bytes())));
        file_.metadata[entry.first] = std::move(entry.second);
      }
    }
    if (!graph) return InvalidData("has no graph: it is no ONNX file");
    TRY_VOID(Graph(ProtoReader(*graph)));
    TRY_VOID(Sort());
    return std::move(file_);
  }

 private:
  Status Opset(ProtoReader reader) {
    std::string domain;
    int64_t version = 0;
    for (;;) {
      TRY(const bool more, reader.Next());
      if (!more) break;
      if (reader.field() == fields::opset::kDomain) domain = reader.Text();
      if (reader.field() == fields::opset::kVersion) version = reader.Integer();
    }
    if (domain.empty() || domain == "ai.onnx") file_.opset = version;
    return {};
  }

  Status Graph(ProtoReader reader) {
    for (;;) {
      TRY(const bool more, reader.Next());
      if (!more) break;
      switch (reader.field()) {
        case fields::graph::kNode: {
          TRY(OnnxNode node, Node(ProtoReader(reader.Bytes())));
          file_.nodes.push_back(std::move(node));
          break;
        }
        case fields::graph::kInitializer: {
          TRY(OnnxTensor tensor, Tensor(ProtoReader(reader.Bytes())));
          std::string name = tensor.name;
          if (!file_.constants.emplace(std::move(name), std::move(tensor)).second) {
            return InvalidData("has two constants of one name");
          }
          break;
        }
        case fields::graph::kInput: {
          TRY(OnnxValueInfo info, ValueInfo(ProtoReader(reader.Bytes())));
          file_.inputs.push_back(std::move(info));
          break;
        }
        case fields::graph::kOutput: {
          TRY(OnnxValueInfo info, ValueInfo(ProtoReader(reader.Bytes())));
          file_.outputs.push_back(std::move(info));
          break;
        }
        case fields::graph::kSparseInitializer:
          return Unsupported("has sparse constants, which are not read");
        default:
          break;
      }
    }
    // Until IR version 4 constants were inputs with a default.
    std::erase_if(file_.inputs, [&](const auto& in) { return file_.constants.contains(in.name); });
    return {};
  }

  Result<OnnxNode> Node(ProtoReader reader) {
    OnnxNode node;
    for (;;) {
      TRY(const bool more, reader.Next());
      if (!more) return node;
      if (reader.field() == fields::node::kInput) node.inputs.emplace_back(reader.Text());
      if (reader.field() == fields::node::kOutput) node.outputs.emplace_back(reader.Text());
      if (reader.field() == fields::node::kName) node.name = reader.Text();
      if (reader.field() == fields::node::kOpType) node.op = reader.Text();
      if (reader.field() == fields::node::kDomain) node.domain = reader.Text();
      if (reader.field() != fields::node::kAttribute) continue;
      std::string name;
      Result<OnnxAttribute> attribute = Attribute(ProtoReader(reader.Bytes()), name);
      if (!attribute) {
        return std::move(attribute).error().In("node " + Quoted(node.name) + ", attribute " +
                                               Quoted(name));
      }
      node.attributes[name] = *std::move(attribute);
    }
  }

  Result<OnnxAttribute> Attribute(ProtoReader reader, std::string& name) {
    OnnxAttribute attribute;
    for (;;) {
      TRY(const bool more, reader.Next());
      if (!more) return attribute;
      switch (reader.field()) {
        case fields::attribute::kName:
          name = reader.Text();
          break;
        case fields::attribute::kFloat:
          attribute.real = reader.Float();
          break;
        case fields::attribute::kInt:
          attribute.integer = reader.Integer();
          break;
        case fields::attribute::kString:
          attribute.text = reader.Text();
          break;
        case fields::attribute::kTensor: {
          TRY(attribute.tensor, Tensor(ProtoReader(reader.Bytes())));
          break;
        }
        case fields::attribute::kGraph:
          attribute.is_graph = true;
          break;
        case fields::attribute::kFloats:
          TRY_VOID(reader.AppendFloats(attribute.reals));
          break;
        case fields::attribute::kInts:
          TRY_VOID(reader.AppendIntegers(attribute.integers));
          break;
        default:
          break;
      }
    }
  }

  Result<OnnxValueInfo> ValueInfo(ProtoReader reader) {
    OnnxValueInfo info;
    for (;;) {
      TRY(const bool more, reader.Next());
      if (!more) return info;
      if (reader.field() == fields::value::kName) info.name = reader.Text();
      if (reader.field() != fields::value::kType) continue;
      ProtoReader type(reader.Bytes());
      for (;;) {
        TRY(const bool more_types, type.Next());
        if (!more_types) break;
        if (type.field() == fields::value::kTensorType) {
          TRY_VOID(TensorType(ProtoReader(type.Bytes()), info));
        }
      }
    }
  }

  static Status TensorType(ProtoReader reader, OnnxValueInfo& info) {
    for (;;) {
      TRY(const bool more, reader.Next());
      if (!more) return {};
      if (reader.field() == fields::value::kElemType)
        info.type = static_cast<int>(reader.Integer());
      if (reader.field() != fields::value::kShape) continue;
      ProtoReader shape(reader.Bytes());
      for (;;) {
        TRY(const bool more_dims, shape.Next());
        if (!more_dims) break;
        if (shape.field() != fields::value::kDim) continue;
        OnnxDimension dimension;
        ProtoReader dim(shape.Bytes());
        for (;;) {
          TRY(const bool more_fields, dim.Next());
          if (!more_fields) break;
          if (dim.field() == fields::value::kDimValue) dimension.size = dim.Integer();
        }
        info.dims.push_back(dimension);
      }
    }
  }

  // What a tensor says about itself before its bytes are looked at.
  struct TensorParts {
    std::vector<float> floats;
    std::vector<double> doubles;
    std::vector<int64_t> integers;
    std::optional<std::span<const std::byte>> raw;
    std::map<std::string, std::string> external;
    bool is_external = false;
  };

  Result<OnnxTensor> Tensor(ProtoReader reader) {
    OnnxTensor tensor;
    TensorParts parts;
    for (;;) {
      TRY(const bool more, reader.Next());
      if (!more) break;
      TRY_VOID(TensorField(reader, tensor, parts));
    }
    Status status = FillTensor(tensor, parts);
    if (!status) {
      return Error(status.error().code(), status.error().message())
          .In("constant " + Quoted(tensor.name));
    }
    return tensor;
  }

  static Status TensorField(const ProtoReader& reader, OnnxTensor& tensor, TensorParts& parts) {
    switch (reader.field()) {
      case fields::tensor::kDims:
        return reader.AppendIntegers(tensor.dims);
      case fields::tensor::kDataType:
        tensor.type = static_cast<int>(reader.Integer());
        return {};
      case fields::tensor::kName:
        tensor.name = reader.Text();
        return {};
      case fields::tensor::kRawData:
        parts.raw = reader.Bytes();
        return {};
      case fields::tensor::kFloatData:
        return reader.AppendFloats(parts.floats);
      case fields::tensor::kDoubleData:
        return reader.AppendDoubles(parts.doubles);
      case fields::tensor::kInt32Data:
      case fields::tensor::kInt64Data:
      case fields::tensor::kUint64Data:
        return reader.AppendIntegers(parts.integers);
      case fields::tensor::kDataLocation:
        parts.is_external = reader.Integer() == fields::tensor::kExternal;
        return {};
      case fields::tensor::kExternalData: {
        TRY(auto entry, KeyAndValue(ProtoReader(reader.Bytes())));
        parts.external[entry.first] = std::move(entry.second);
        return {};
      }
      default:
        return {};
    }
  }

  Status FillTensor(OnnxTensor& tensor, const TensorParts& parts) {
    const size_t element = OnnxTypeBytes(tensor.type);
    if (element == 0) {
      return Unsupported("has elements of type " + std::to_string(tensor.type) +
                         ", which is not read");
    }
    const std::optional<size_t> count = ElementCount(tensor.dims);
    if (tensor.dims.size() > kMaxRank || !count || *count > SIZE_MAX / 16) {
      return InvalidData("has an impossible shape " + ShapeText(tensor.dims));
    }
    std::shared_ptr<std::vector<std::byte>> made;
    if (parts.is_external) {
      TRY_VOID(External(tensor, parts, *count * element));
    } else if (parts.raw) {
      tensor.data = *parts.raw;
      tensor.owner = owner_;
    } else if (!parts.floats.empty()) {
      made = Copied(parts.floats);
    } else if (!parts.doubles.empty()) {
      made = Copied(parts.doubles);
    } else {
      made = OfType(element, parts.integers);
    }
    if (made) {
      tensor.data = *made;
      tensor.owner = std::move(made);
    }
    if (tensor.data.size() == *count * element) return {};
    return InvalidData("has " + std::to_string(tensor.data.size()) + " bytes, its shape " +
                       ShapeText(tensor.dims) + " needs " + std::to_string(*count * element));
  }

  Status External(OnnxTensor& tensor, const TensorParts& parts, size_t bytes) {
    const auto text = [&](const char* key) {
      const auto found = parts.external.find(key);
      return found == parts.external.end() ? std::string() : found->second;
    };
    const std::string path = text("location");
    if (LeavesTheFolder(path)) {
      return InvalidData("names external data " + Quoted(path) +
                         ": only files in the model's own folder are read");
    }
    const std::optional<uint64_t> offset = text("offset").empty() ? 0 : Decimal(text("offset"));
    const std::optional<uint64_t> length = text("length").empty() ? bytes : Decimal(text("length"));
    if (!offset || !length || *length != bytes) {
      return InvalidData("has external data of another size than its shape needs");
    }
    TRY(const OnnxExternalFile file, open_(path));
    if (*offset > file.first.size() || bytes > file.first.size() - *offset) {
      return InvalidData("lies outside of " + Quoted(path) + ", which has " +
                         std::to_string(file.first.size()) + " bytes");
    }
    tensor.data = file.first.subspan(static_cast<size_t>(*offset), bytes);
    tensor.owner = file.second;
    return {};
  }

  // Nodes in an order in which each runs after those that it reads from (the format asks for one).
  Status Sort() {
    std::unordered_map<std::string_view, size_t> producer;
    for (size_t i = 0; i < file_.nodes.size(); ++i) {
      for (const std::string& output : file_.nodes[i].outputs) {
        if (output.empty()) continue;
        if (!producer.emplace(output, i).second || file_.constants.contains(output)) {
          return InvalidData("makes the tensor " + Quoted(output) + " twice");
        }
      }
    }
    std::unordered_map<std::string_view, bool> given;
    for (const OnnxValueInfo& input : file_.inputs) given[input.name] = true;
    std::vector<std::vector<size_t>> readers(file_.nodes.size());
    std::vector<size_t> waiting(file_.nodes.size(), 0);
    for (size_t i = 0; i < file_.nodes.size(); ++i) {
      for (const std::string& input : file_.nodes[i].inputs) {
        if (input.empty() || given.contains(input) || file_.constants.contains(input)) continue;
        const auto found = producer.find(input);
        if (found == producer.end()) {
          return InvalidData("node " + Quoted(file_.nodes[i].name) + " (" +
                             Quoted(file_.nodes[i].op) + ") reads " + Quoted(input) +
                             ", which nothing makes: a constant is missing");
        }
        readers[found->second].push_back(i);
        ++waiting[i];
      }
    }
    // The first that can run comes first: a file in order stays as it is.
    std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
    for (size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i] == 0) ready.push(i);
    }
    std::vector<size_t> order;
    while (!ready.empty()) {
      const size_t i = ready.top();
      ready.pop();
      order.push_back(i);
      for (const size_t reader : readers[i]) {
        if (--waiting[reader] == 0) ready.push(reader);
      }
    }
    if (order.size() < file_.nodes.size()) {
      const auto stuck = std::ranges::find_if(waiting, [](size_t n) { return n > 0; });
      const OnnxNode& node = file_.nodes[static_cast<size_t>(stuck - waiting.begin())];
      return InvalidData("its nodes go round in a circle at " + Quoted(node.name) + " (" +
                         Quoted(node.op) + ")");
    }
    std::vector<OnnxNode> sorted;
    for (const size_t i : order) sorted.push_back(std::move(file_.nodes[i]));
    file_.nodes = std::move(sorted);
    return {};
  }

  OnnxFile file_;
  std::shared_ptr<const void> owner_;
  const OnnxExternalOpener& open_;
};

}  // namespace

size_t OnnxTypeBytes(int type) {
  switch (type) {
    case fields::tensor::kUint8:
    case fields::tensor::kInt8:
    case fields::tensor::kBool:
      return 1;
    case fields::tensor::kUint16:
    case fields::tensor::kInt16:
    case fields::tensor::kFloat16:
    case fields::tensor::kBFloat16:
      return 2;
    case fields::tensor::kFloat:
    case fields::tensor::kInt32:
    case fields::tensor::kUint32:
      return 4;
    case fields::tensor::kInt64:
    case fields::tensor::kDouble:
    case fields::tensor::kUint64:
      return 8;
    default:
      return 0;
  }
}

Result<OnnxFile> ParseOnnx(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                           const OnnxExternalOpener& open) {
  return Parser(std::move(owner), open).Model(bytes);
}

}  // namespace thimble
