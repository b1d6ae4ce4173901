#include "thimble/formats/tflite/tflite_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "thimble/base/quote.h"

namespace thimble {
namespace {

constexpr size_t kMostRank = 8;
constexpr size_t kLargestFlatBuffer = (size_t{1} << 31) - 1;

template <class T>
using FbVector = flatbuffers::Vector<T>;

std::string_view TextOf(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->c_str(), text->size());
}

// The FlatBuffers verifier looks at the alignment of fields, not of the elements of vectors.
template <class To, class From>
Result<std::vector<To>> CopyNumbers(const FbVector<From>* from) {
  std::vector<To> to;
  if (from == nullptr || from->size() == 0) return to;
  if (reinterpret_cast<uintptr_t>(from->Data()) % sizeof(From) != 0) {
    return InvalidData("is damaged: a list of numbers is misaligned");
  }
  to.reserve(from->size());
  for (const From value : *from) to.push_back(static_cast<To>(value));
  return to;
}

std::optional<size_t> BitsOf(tfl::TensorType type) {
  switch (type) {
    case tfl::TensorType::INT4:
      return 4;
    case tfl::TensorType::UINT8:
    case tfl::TensorType::INT8:
    case tfl::TensorType::BOOL:
      return 8;
    case tfl::TensorType::FLOAT16:
    case tfl::TensorType::BFLOAT16:
    case tfl::TensorType::INT16:
    case tfl::TensorType::UINT16:
      return 16;
    case tfl::TensorType::FLOAT32:
    case tfl::TensorType::INT32:
    case tfl::TensorType::UINT32:
      return 32;
    case tfl::TensorType::INT64:
    case tfl::TensorType::FLOAT64:
    case tfl::TensorType::UINT64:
      return 64;
    default:
      return std::nullopt;
  }
}

class Parser {
 public:
  explicit Parser(std::span<const std::byte> bytes) : bytes_(bytes) {}

  Result<TfliteFile> Run() {
    if (!IsTflite(bytes_))
      return InvalidData(
          "is not a TensorFlow Lite file (import reads these, .onnx files and directories)");
    if (reinterpret_cast<uintptr_t>(bytes_.data()) % 16 != 0) {
      return InvalidArgument("its bytes must begin at a multiple of 16");
    }
    flatbuffers::Verifier verifier(
        reinterpret_cast<const uint8_t*>(bytes_.data()),
        std::min(bytes_.size(), kLargestFlatBuffer), /*max_depth=*/16,
        static_cast<flatbuffers::uoffset_t>(std::min(bytes_.size() / 8, kLargestFlatBuffer)));
    if (!tfl::VerifyModelBuffer(verifier)) {
      return InvalidData("is damaged: its FlatBuffer is not well formed");
    }
    file_.model = tfl::GetModel(bytes_.data());
    if (file_.model->version() != 3) {
      return Unsupported("has format version " + std::to_string(file_.model->version()) +
                         ", import reads 3");
    }
    if (file_.model->subgraphs() == nullptr || file_.model->subgraphs()->size() == 0) {
      return InvalidData("has no graph");
    }
    const tfl::SubGraph& graph = *file_.model->subgraphs()->Get(0);
    TRY_VOID(Tensors(graph));
    TRY_VOID(Operators(graph));
    TRY(file_.inputs, CopyNumbers<int32_t>(graph.inputs()));
    TRY(file_.outputs, CopyNumbers<int32_t>(graph.outputs()));
    TRY_VOID(CheckOrder());
    return std::move(file_);
  }

 private:
  Result<std::span<const std::byte>> BufferBytes(uint32_t index) const {
    const auto* buffers = file_.model->buffers();
    if (buffers == nullptr || index >= buffers->size()) {
      return InvalidData("its buffer " + std::to_string(index) + " is not in the file");
    }
    const tfl::Buffer& buffer = *buffers->Get(index);
    if (buffer.offset() > 1) {  // 1 stands for "to be filled in"
      if (buffer.offset() > bytes_.size() || buffer.size() > bytes_.size() - buffer.offset()) {
        return InvalidData("its buffer " + std::to_string(index) + " reaches beyond the file");
      }
      return bytes_.subspan(buffer.offset(), buffer.size());
    }
    if (buffer.data() == nullptr) return std::span<const std::byte>();
    return std::as_bytes(std::span(buffer.data()->data(), buffer.data()->size()));
  }

  static Status Quantization(const tfl::Tensor& from, TfliteTensor& to) {
    const tfl::QuantizationParameters* q = from.quantization();
    if (q == nullptr) return {};
    if (q->details_type() != 0) return Unsupported("is quantized by a scheme of its own");
    TRY(to.scales, CopyNumbers<float>(q->scale()));
    TRY(to.zero_points, CopyNumbers<int64_t>(q->zero_point()));
    if (to.scales.empty()) return {};
    if (to.zero_points.empty()) to.zero_points.assign(to.scales.size(), 0);
    to.axis = q->quantized_dimension() < 0 ? kMostRank : size_t(q->quantized_dimension());
    const size_t count = to.scales.size();
    const bool per_axis =
        to.axis < to.shape.size() && count == static_cast<size_t>(to.shape[to.axis]);
    if (count != 1 && !per_axis) {
      return InvalidData("has " + std::to_string(count) + " scales, which fit no dimension");
    }
    if (to.zero_points.size() == 1) to.zero_points.assign(count, to.zero_points[0]);
    if (to.zero_points.size() != count) return InvalidData("has as many zero points as no scales");
    for (const float scale : to.scales) {
      if (!std::isfinite(scale) || scale < 0) return InvalidData("has a scale that is none");
    }
    return {};
  }

  Result<TfliteTensor> ReadTensor(const tfl::Tensor& from) const {
    TfliteTensor to;
    to.name = TextOf(from.name());
    to.type = from.type();
    TRY(to.shape, CopyNumbers<int64_t>(from.shape()));
    TRY(to.signature, CopyNumbers<int64_t>(from.shape_signature()));
    const std::optional<size_t> elements = ElementCount(to.shape);
    if (to.shape.size() > kMostRank || !elements) {
      return InvalidData("has the absurd shape " + ShapeText(to.shape).substr(0, 80));
    }
    if (!to.signature.empty() && to.signature.size() != to.shape.size()) {
      return InvalidData("has a signature of another rank than its shape");
    }
    if (from.is_variable()) return Unsupported("is a variable, which import does not read");
    if (from.sparsity() != nullptr) {
      return Unsupported("is stored sparsely, which import does not read");
    }
    TRY_VOID(Quantization(from, to));
    TRY(to.data, BufferBytes(from.buffer()));
    const bool allocated = to.data.data() != nullptr && !to.data.empty();
    to.constant = allocated;
    if (!allocated) return to;
    const std::optional<size_t> bits = BitsOf(to.type);
    if (!bits) {
      return Unsupported("is a constant of type " + std::string(tfl::EnumNameTensorType(to.type)));
    }
    if (*elements > (SIZE_MAX - 7) / 64 || to.data.size() != (*elements * *bits + 7) / 8) {
      return InvalidData("has " + std::to_string(to.data.size()) + " bytes, which do not fit " +
                         ShapeText(to.shape) + " " + tfl::EnumNameTensorType(to.type));
    }
    return to;
  }

  Status Tensors(const tfl::SubGraph& graph) {
    if (graph.tensors() == nullptr) return {};
    for (const tfl::Tensor* from : *graph.tensors()) {
      Result<TfliteTensor> tensor = ReadTensor(*from);
      if (!tensor) {
        return std::move(tensor).error().In("tensor " + std::to_string(file_.tensors.size()) + " " +
                                            Quoted(TextOf(from->name())));
      }
      file_.tensors.push_back(*std::move(tensor));
    }
    return {};
  }

  Status Operators(const tfl::SubGraph& graph) {
    if (graph.operators() == nullptr) return {};
    const auto* codes = file_.model->operator_codes();
    for (const tfl::Operator* from : *graph.operators()) {
      if (codes == nullptr || from->opcode_index() >= codes->size()) {
        return InvalidData("operation " + std::to_string(file_.ops.size()) +
                           " has a code that is not in the file");
      }
      const tfl::OperatorCode& code = *codes->Get(from->opcode_index());
      TfliteOp op;
      op.code = static_cast<tfl::BuiltinOperator>(std::max<int32_t>(
          code.deprecated_builtin_code(), static_cast<int32_t>(code.builtin_code())));
      op.name = tfl::EnumNameBuiltinOperator(op.code);
      if (op.name.empty()) op.name = "operation code " + std::to_string(int32_t(op.code));
      if (op.code == tfl::BuiltinOperator::CUSTOM) {
        const std::string name = Quoted(TextOf(code.custom_code()), 60);
        op.name += " " + name.substr(1, name.size() - 2);
      }
      TRY(op.inputs, CopyNumbers<int32_t>(from->inputs()));
      TRY(op.outputs, CopyNumbers<int32_t>(from->outputs()));
      op.table = from;
      file_.ops.push_back(std::move(op));
    }
    return {};
  }

  bool IsTensor(int32_t index) const {
    return index >= 0 && static_cast<size_t>(index) < file_.tensors.size();
  }

  Status CheckOrder() const {
    std::vector<bool> known(file_.tensors.size());
    for (size_t i = 0; i < known.size(); ++i) known[i] = file_.tensors[i].constant;
    for (const int32_t input : file_.inputs) {
      if (!IsTensor(input) || known[size_t(input)]) {
        return InvalidData("an input of the model is no tensor that can be fed");
      }
      known[size_t(input)] = true;
    }
    for (size_t i = 0; i < file_.ops.size(); ++i) {
      const TfliteOp& op = file_.ops[i];
      const std::string place = "operation " + std::to_string(i) + " (" + op.name + ")";
      for (const int32_t input : op.inputs) {
        if (input == -1) continue;
        if (!IsTensor(input)) return InvalidData(place + " reads a tensor that is not there");
        if (!known[size_t(input)]) {
          return InvalidData(place + " reads tensor " + std::to_string(input) +
                             ", which nothing before it has written: a cycle, or a constant "
                             "without its bytes");
        }
      }
      for (const int32_t output : op.outputs) {
        if (!IsTensor(output)) return InvalidData(place + " writes a tensor that is not there");
        if (known[size_t(output)]) {
          return InvalidData(place + " writes tensor " + std::to_string(output) +
                             ", which has a value already");
        }
        known[size_t(output)] = true;
      }
    }
    for (const int32_t output : file_.outputs) {
      if (!IsTensor(output) || !known[size_t(output)]) {
        return InvalidData("an output of the model is no tensor that anything writes");
      }
    }
    return {};
  }

  std::span<const std::byte> bytes_;
  TfliteFile file_;
};

}  // namespace

bool IsTflite(std::span<const std::byte> bytes) {
  return bytes.size() >= 8 && std::memcmp(bytes.data() + 4, "TFL3", 4) == 0;
}

Result<TfliteFile> TfliteFile::Parse(std::span<const std::byte> bytes) {
  return Parser(bytes).Run();
}

std::optional<std::span<const std::byte>> TfliteFile::FindMetadata(std::string_view name) const {
  if (model->metadata() == nullptr || model->buffers() == nullptr) return std::nullopt;
  for (const tfl::Metadata* entry : *model->metadata()) {
    if (TextOf(entry->name()) != name || entry->buffer() >= model->buffers()->size()) continue;
    const tfl::Buffer& buffer = *model->buffers()->Get(entry->buffer());
    if (buffer.data() == nullptr) continue;
    return std::as_bytes(std::span(buffer.data()->data(), buffer.data()->size()));
  }
  return std::nullopt;
}

}  // namespace thimble
