#include "thimble/formats/tflite/tflite_writer.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace thimble {
namespace {

// What FlatBuffers' 32-bit offsets reach, less room for all that is not a constant.
constexpr size_t kMaxConstantBytes = (size_t{1} << 31) - (size_t{1} << 26);

// Runtimes since which there are operators that are not as old as the others here.
struct Since {
  tfl::BuiltinOperator code;
  int32_t version;
  int release;  // of TensorFlow 2
};
constexpr int kOldestRelease = 1;
constexpr Since kSince[] = {
    {tfl::BuiltinOperator::BATCH_MATMUL, 1, 3},
    {tfl::BuiltinOperator::CUMSUM, 1, 4},
    {tfl::BuiltinOperator::GELU, 1, 9},
    {tfl::BuiltinOperator::FULLY_CONNECTED, 10, 11},
    {tfl::BuiltinOperator::FULLY_CONNECTED, 12, 17},
};

template <class T>
std::string BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

}  // namespace

TfliteWriter::TensorId TfliteWriter::AddTensor(TensorInfo info) {
  tensors_.push_back(std::move(info));
  return static_cast<TensorId>(tensors_.size() - 1);
}

uint32_t TfliteWriter::AddBuffer(std::string bytes) {
  const size_t hash = std::hash<std::string>()(bytes);
  const auto [begin, end] = buffers_by_hash_.equal_range(hash);
  for (auto place = begin; place != end; ++place) {
    if (buffers_[place->second] == bytes) return place->second;
  }
  buffers_.push_back(std::move(bytes));
  const auto index = static_cast<uint32_t>(buffers_.size() - 1);
  buffers_by_hash_.emplace(hash, index);
  return index;
}

TfliteWriter::TensorId TfliteWriter::Input(std::string_view name, tfl::TensorType type, Dims dims,
                                           Quantization quantization) {
  const TensorId tensor =
      AddTensor({std::string(name), type, std::move(dims), 0, std::move(quantization)});
  inputs_.push_back({std::string(name), tensor});
  return tensor;
}

void TfliteWriter::Output(std::string_view name, TensorId tensor) {
  tensors_[static_cast<size_t>(tensor)].name = name;
  outputs_.push_back({std::string(name), tensor});
}

uint32_t TfliteWriter::CodeIndex(const Operator& op) {
  const std::pair code{op.code, op.version};
  const auto place = std::find(codes_.begin(), codes_.end(), code);
  if (place != codes_.end()) return static_cast<uint32_t>(place - codes_.begin());
  codes_.push_back(code);
  return static_cast<uint32_t>(codes_.size() - 1);
}

TfliteWriter::TensorId TfliteWriter::Op(const Operator& op, std::string_view name,
                                        std::span<const TensorId> inputs, tfl::TensorType type,
                                        Dims dims, Quantization quantization) {
  const TensorId output =
      AddTensor({std::string(name), type, std::move(dims), 0, std::move(quantization)});
  const auto input_ids = builder_.CreateVector(inputs.data(), inputs.size());
  const auto output_ids = builder_.CreateVector(&output, 1);
  operators_.push_back(
      tfl::CreateOperator(builder_, CodeIndex(op), input_ids, output_ids, op.type, op.options));
  return output;
}

TfliteWriter::TensorId TfliteWriter::Constant(std::string_view name, tfl::TensorType type,
                                              Dims dims, std::string bytes,
                                              Quantization quantization) {
  const uint32_t buffer = AddBuffer(std::move(bytes));
  return AddTensor({std::string(name), type, std::move(dims), buffer, std::move(quantization)});
}

TfliteWriter::TensorId TfliteWriter::Floats(std::string_view name, Dims dims,
                                            std::span<const float> values) {
  return Constant(name, tfl::TensorType::FLOAT32, std::move(dims), BytesOf(values));
}

TfliteWriter::TensorId TfliteWriter::Float(float value) {
  std::string bytes = BytesOf(std::span<const float>(&value, 1));
  const auto [place, is_new] = shared_.try_emplace({bytes, true});
  if (is_new) {
    place->second = Constant("scalar" + std::to_string(tensors_.size()), tfl::TensorType::FLOAT32,
                             {}, std::move(bytes));
  }
  return place->second;
}

TfliteWriter::TensorId TfliteWriter::Int32s(std::span<const int32_t> values) {
  std::string bytes = BytesOf(values);
  const auto [place, is_new] = shared_.try_emplace({bytes, false});
  if (is_new) {
    place->second = Constant("vector" + std::to_string(tensors_.size()), tfl::TensorType::INT32,
                             {static_cast<int32_t>(values.size())}, std::move(bytes));
  }
  return place->second;
}

TfliteWriter::TensorId TfliteWriter::Int32Table(Dims dims, std::span<const int32_t> values) {
  return Constant("table" + std::to_string(tensors_.size()), tfl::TensorType::INT32,
                  std::move(dims), BytesOf(values));
}

void TfliteWriter::Metadata(std::string_view name, std::string bytes) {
  metadata_.emplace_back(std::string(name), AddBuffer(std::move(bytes)));
}

std::string TfliteWriter::MinRuntimeVersion() const {
  int release = kOldestRelease;
  for (const auto& [code, version] : codes_) {
    for (const Since& since : kSince) {
      if (since.code == code && since.version <= version)
        release = std::max(release, since.release);
    }
  }
  std::string text = "2." + std::to_string(release) + ".0";
  text.resize(16);  // as long as readers expect it
  return text;
}

flatbuffers::Offset<tfl::Tensor> TfliteWriter::WriteTensor(const TensorInfo& info) {
  Dims shape = info.dims;
  std::replace(shape.begin(), shape.end(), -1, 1);
  flatbuffers::Offset<tfl::QuantizationParameters> quantization;
  if (const std::vector<float>& scales = info.quantization.scales; !scales.empty()) {
    const std::vector<int64_t> zero_points(scales.size(), info.quantization.zero_point);
    quantization =
        tfl::CreateQuantizationParametersDirect(builder_, nullptr, nullptr, &scales, &zero_points);
  }
  const auto shape_offset = builder_.CreateVector(shape);
  const auto name = builder_.CreateString(info.name);
  flatbuffers::Offset<flatbuffers::Vector<int32_t>> signature;
  if (shape != info.dims) signature = builder_.CreateVector(info.dims);
  return tfl::CreateTensor(builder_, shape_offset, info.type, info.buffer, name, quantization,
                           false, 0, signature);
}

flatbuffers::Offset<tfl::SignatureDef> TfliteWriter::WriteSignature() {
  const auto maps = [&](const std::vector<Border>& border) {
    std::vector<flatbuffers::Offset<tfl::TensorMap>> entries;
    entries.reserve(border.size());
    for (const auto& [name, tensor] : border) {
      entries.push_back(
          tfl::CreateTensorMapDirect(builder_, name.c_str(), static_cast<uint32_t>(tensor)));
    }
    return builder_.CreateVector(entries);
  };
  const auto inputs = maps(inputs_);
  const auto outputs = maps(outputs_);
  return tfl::CreateSignatureDef(builder_, inputs, outputs,
                                 builder_.CreateString("serving_default"));
}

flatbuffers::Offset<tfl::SubGraph> TfliteWriter::WriteSubGraph() {
  std::vector<flatbuffers::Offset<tfl::Tensor>> tensors;
  for (const TensorInfo& info : tensors_) tensors.push_back(WriteTensor(info));
  const auto ids = [](const std::vector<Border>& border) {
    std::vector<int32_t> tensor_ids;
    tensor_ids.reserve(border.size());
    for (const Border& entry : border) tensor_ids.push_back(entry.tensor);
    return tensor_ids;
  };
  const std::vector<int32_t> inputs = ids(inputs_), outputs = ids(outputs_);
  return tfl::CreateSubGraphDirect(builder_, &tensors, &inputs, &outputs, &operators_, "main");
}

Result<std::string> TfliteWriter::Finish(std::string_view description) && {
  Metadata("min_runtime_version", MinRuntimeVersion());
  size_t bytes = 0;
  for (const std::string& buffer : buffers_) bytes += buffer.size();
  if (bytes > kMaxConstantBytes) {
    return Unsupported("its weights take " + std::to_string(bytes >> 20) +
                       " MB, and a .tflite file ends at 2048 MB: take --weights f16 or int8");
  }
  std::vector<flatbuffers::Offset<tfl::OperatorCode>> codes;
  for (const auto& [code, version] : codes_) {
    const int8_t old_code =
        static_cast<int8_t>(std::min(code, tfl::BuiltinOperator::PLACEHOLDER_FOR_GREATER_OP_CODES));
    codes.push_back(tfl::CreateOperatorCode(builder_, old_code, 0, version, code));
  }
  const auto code_vector = builder_.CreateVector(codes);
  const auto subgraph = WriteSubGraph();
  const auto subgraphs = builder_.CreateVector(&subgraph, 1);
  const auto signature = WriteSignature();
  const auto signatures = builder_.CreateVector(&signature, 1);
  std::vector<flatbuffers::Offset<tfl::Metadata>> metadata;
  for (const auto& [name, buffer] : metadata_) {
    metadata.push_back(tfl::CreateMetadataDirect(builder_, name.c_str(), buffer));
  }
  const auto metadata_vector = builder_.CreateVector(metadata);
  const auto description_text = builder_.CreateString(description);
  std::vector<flatbuffers::Offset<tfl::Buffer>> buffers;
  for (std::string& buffer : buffers_) {
    flatbuffers::Offset<flatbuffers::Vector<uint8_t>> data;
    if (!buffer.empty()) {
      builder_.ForceVectorAlignment(buffer.size(), 1, 16);
      data = builder_.CreateVector(reinterpret_cast<const uint8_t*>(buffer.data()), buffer.size());
    }
    buffers.push_back(tfl::CreateBuffer(builder_, data));
    std::string().swap(buffer);
  }
  const auto buffer_vector = builder_.CreateVector(buffers);
  tfl::FinishModelBuffer(builder_,
                         tfl::CreateModel(builder_, 3, code_vector, subgraphs, description_text,
                                          buffer_vector, 0, metadata_vector, signatures));
  return std::string(reinterpret_cast<const char*>(builder_.GetBufferPointer()),
                     builder_.GetSize());
}

}  // namespace thimble
