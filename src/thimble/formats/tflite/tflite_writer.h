// A .tflite file under construction: tensors, operators in order, constants, one signature.
//
// Tensors are called by their index, as in the file. A dimension of -1 is free: the file says 1 for it,
// and -1 in the signature of the shape, as TensorFlow's converter does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/tflite/tflite_generated.h"

namespace thimble {

// real = scale * (code - zero_point); one zero point of 0 for each of several scales, which belong to the
// indices of the first dimension. No scales: the tensor's numbers are what they are.
struct TfliteQuantization {
  std::vector<float> scales;
  int64_t zero_point = 0;
};

struct TfliteOperator {
  tfl::BuiltinOperator code;
  int32_t version = 1;  // the first that can do what is asked
  tfl::BuiltinOptions type = tfl::BuiltinOptions::NONE;
  flatbuffers::Offset<void> options = 0;  // made with TfliteWriter::builder()
};

class TfliteWriter {
 public:
  using TensorId = int32_t;
  using Quantization = TfliteQuantization;
  using Operator = TfliteOperator;
  using Dims = std::vector<int32_t>;
  static constexpr TensorId kAbsent = -1;  // an optional input that is not given

  // For the options of operators.
  flatbuffers::FlatBufferBuilder& builder() { return builder_; }

  TensorId Input(std::string_view name, tfl::TensorType type, Dims dims,
                 Quantization quantization = {});
  // Names the tensor and makes it the next output.
  void Output(std::string_view name, TensorId tensor);

  // Appends an operator; gives its output.
  TensorId Op(const Operator& op, std::string_view name, std::span<const TensorId> inputs,
              tfl::TensorType type, Dims dims, Quantization quantization = {});

  // A constant. Equal bytes are stored once, whatever their tensors are.
  TensorId Constant(std::string_view name, tfl::TensorType type, Dims dims, std::string bytes,
                    Quantization quantization = {});
  TensorId Floats(std::string_view name, Dims dims, std::span<const float> values);
  TensorId Float(float value);                       // a scalar; equal ones are one tensor
  TensorId Int32s(std::span<const int32_t> values);  // a vector; equal ones are one tensor
  TensorId Int32Table(Dims dims, std::span<const int32_t> values);

  const Dims& dims(TensorId tensor) const { return tensors_[static_cast<size_t>(tensor)].dims; }

  // A buffer that describes the model. The oldest runtime that has all operators is told by Finish.
  void Metadata(std::string_view name, std::string bytes);

  // The names under which tensors were declared, for metadata.
  struct Border {
    std::string name;
    TensorId tensor;
  };
  const std::vector<Border>& inputs() const { return inputs_; }
  const std::vector<Border>& outputs() const { return outputs_; }

  // The FlatBuffer. Fails where the file would be larger than its 32-bit offsets reach.
  Result<std::string> Finish(std::string_view description) &&;

 private:
  struct TensorInfo {
    std::string name;
    tfl::TensorType type;
    Dims dims;
    uint32_t buffer = 0;
    Quantization quantization;
  };

  TensorId AddTensor(TensorInfo info);
  uint32_t AddBuffer(std::string bytes);
  uint32_t CodeIndex(const Operator& op);
  std::string MinRuntimeVersion() const;
  flatbuffers::Offset<tfl::Tensor> WriteTensor(const TensorInfo& info);
  flatbuffers::Offset<tfl::SignatureDef> WriteSignature();
  flatbuffers::Offset<tfl::SubGraph> WriteSubGraph();

  flatbuffers::FlatBufferBuilder builder_;
  std::vector<flatbuffers::Offset<tfl::Operator>> operators_;
  std::vector<std::pair<tfl::BuiltinOperator, int32_t>> codes_;  // and versions
  std::vector<TensorInfo> tensors_;
  std::vector<std::string> buffers_{std::string()};  // the first is empty
  std::multimap<size_t, uint32_t> buffers_by_hash_;
  std::map<std::pair<std::string, bool>, TensorId> shared_;  // bytes, whether a scalar
  std::vector<std::pair<std::string, uint32_t>> metadata_;
  std::vector<Border> inputs_, outputs_;
};

}  // namespace thimble
