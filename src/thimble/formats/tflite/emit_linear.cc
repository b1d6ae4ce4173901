// Products and tables: in float32, and in int8.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "thimble/formats/tflite/emitter.h"

namespace thimble {
namespace {

std::string RowMajorCodes(const Tensor& weight) {
  const Tensor rows = weight.InLayout(Layout::kRowMajor);
  return {reinterpret_cast<const char*>(rows.data().data()), rows.data().size()};
}

// A row of zeros may have the scale 0, which is none in TensorFlow Lite; any other says the same.
std::vector<float> UsableScales(const Tensor& weight) {
  std::vector<float> scales(weight.scales().begin(), weight.scales().end());
  for (float& scale : scales) {
    if (scale == 0) scale = 1;
  }
  return scales;
}

TfliteEmitter::Dims MatrixDims(const Tensor& weight) {
  return {static_cast<int32_t>(weight.dim(0)), static_cast<int32_t>(weight.dim(1))};
}

TfliteOperator FullyConnected(flatbuffers::FlatBufferBuilder& builder, int32_t version,
                              bool is_hybrid) {
  const auto options = tfl::CreateFullyConnectedOptions(builder, tfl::ActivationFunctionType::NONE,
                                                        0, false, is_hybrid);
  return {.code = tfl::BuiltinOperator::FULLY_CONNECTED,
          .version = version,
          .type = tfl::BuiltinOptions::FullyConnectedOptions,
          .options = options.Union()};
}

}  // namespace

TfliteEmitter::Id TfliteEmitter::Codes(const Weight& weight) {
  return Cached(weight, "codes", [&] {
    return writer_.Constant(weight.name, tfl::TensorType::INT8, MatrixDims(weight.tensor),
                            RowMajorCodes(weight.tensor), {.scales = UsableScales(weight.tensor)});
  });
}

TfliteEmitter::Id TfliteEmitter::Product(const Node& node) {
  const Weight& weight = node.weights[0];
  const bool is_int8 = weight.tensor.dtype() == DType::kI8;
  const bool has_bias = node.weights.size() > 1;
  const Id matrix = is_int8 ? Codes(weight) : Constant(weight);
  const Id bias = has_bias ? Constant(node.weights[1]) : TfliteWriter::kAbsent;
  constexpr int32_t kHybridPerChannel = 12, kWithoutBias = 6, kFirst = 1;
  const int32_t version = is_int8 ? kHybridPerChannel : has_bias ? kFirst : kWithoutBias;
  return Op(FullyConnected(writer_.builder(), version, is_int8), node.name,
            {In(node), matrix, bias}, Matrix(graph_.value(node.output).type));
}

TfliteEmitter::Id TfliteEmitter::EmitLinear(const Node& node) {
  const bool is_integer = !options_.ranges.empty() && node.weights[0].tensor.dtype() == DType::kI8;
  return is_integer ? IntegerProduct(node) : Product(node);
}

TfliteQuantization TfliteEmitter::RangeOf(ValueId value) const {
  const TfliteRange& seen = options_.ranges.at(graph_.value(value).name);
  // Zero is a code.
  const float least = std::min(seen.least, 0.0f), most = std::max(seen.most, 0.0f);
  const float scale = std::max((most - least) / 255, std::numeric_limits<float>::min());
  return {.scales = {scale}, .zero_point = std::lround(-128 - least / scale)};
}

TfliteEmitter::Id TfliteEmitter::Quantize(std::string_view name, Id x,
                                          const TfliteQuantization& quantization) {
  const auto [place, is_new] =
      quantized_.try_emplace({x, quantization.scales[0], quantization.zero_point});
  if (is_new) {
    const TfliteWriter::Operator op{
        .code = Code::QUANTIZE,
        .type = tfl::BuiltinOptions::QuantizeOptions,
        .options = tfl::CreateQuantizeOptions(writer_.builder()).Union()};
    place->second = Op(op, name, {x}, writer_.dims(x), tfl::TensorType::INT8, quantization);
  }
  return place->second;
}

TfliteEmitter::Id TfliteEmitter::Dequantize(std::string_view name, Id x, int32_t version) {
  const TfliteWriter::Operator op{
      .code = Code::DEQUANTIZE,
      .version = version,
      .type = tfl::BuiltinOptions::DequantizeOptions,
      .options = tfl::CreateDequantizeOptions(writer_.builder()).Union()};
  return Op(op, name, {x}, writer_.dims(x));
}

// As the sums of products have them: one scale for each channel.
TfliteEmitter::Id TfliteEmitter::IntegerBias(const Node& node, float input_scale) {
  std::vector<float> scales = UsableScales(node.weights[0].tensor);
  const std::vector<float> bias = node.weights[1].tensor.ToFloats();
  std::string codes;
  for (size_t i = 0; i < scales.size(); ++i) {
    scales[i] = std::max(scales[i] * input_scale, std::numeric_limits<float>::min());
    constexpr double kMost = 1 << 30;
    const double code =
        std::clamp(std::round(bias[i] / static_cast<double>(scales[i])), -kMost, kMost);
    const auto integer = static_cast<int32_t>(code);
    codes.append(reinterpret_cast<const char*>(&integer), sizeof integer);
  }
  return writer_.Constant(node.weights[1].name, tfl::TensorType::INT32,
                          {static_cast<int32_t>(bias.size())}, std::move(codes),
                          {.scales = std::move(scales)});
}

TfliteEmitter::Id TfliteEmitter::IntegerProduct(const Node& node) {
  const auto calibrated = static_cast<float>(std::get<LinearAttrs>(node.attrs).input_scale);
  const TfliteQuantization in =
      calibrated > 0 ? TfliteQuantization{.scales = {calibrated}} : RangeOf(node.inputs[0]);
  const Id x = Quantize(node.name, In(node), in);
  const Id bias = node.weights.size() > 1 ? IntegerBias(node, in.scales[0]) : TfliteWriter::kAbsent;
  constexpr int32_t kPerChannel = 10, kFromInt8 = 2;
  const Id sums = Op(FullyConnected(writer_.builder(), kPerChannel, false), node.name,
                     {x, Codes(node.weights[0]), bias}, Matrix(graph_.value(node.output).type),
                     tfl::TensorType::INT8, RangeOf(node.output));
  return Dequantize(node.name, sums, kFromInt8);
}

// Codes and the scale of their row apart: quantized tables have one scale there.
TfliteEmitter::Id TfliteEmitter::CodeTable(const Node& node, const Weight& table) {
  const Dims dims = Matrix(graph_.value(node.output).type);
  const Id codes = Cached(table, "row codes", [&] {
    return writer_.Constant(table.name, tfl::TensorType::INT8, MatrixDims(table.tensor),
                            RowMajorCodes(table.tensor));
  });
  const Id scales = Cached(table, "row scales", [&] {
    return writer_.Floats(table.name + "/scales", {static_cast<int32_t>(table.tensor.dim(0)), 1},
                          UsableScales(table.tensor));
  });
  const Id ids = In(node);
  const Id row = Gather(node.name, codes, ids, dims, tfl::TensorType::INT8);
  const Id scale = Gather(node.name, scales, ids, {dims[0], 1}, tfl::TensorType::FLOAT32);
  const Id numbers = Cast(node.name, row, tfl::TensorType::INT8, tfl::TensorType::FLOAT32);
  return Same(Code::MUL, node.name, {numbers, scale});
}

TfliteEmitter::Id TfliteEmitter::EmitEmbedding(const Node& node) {
  const Weight& table = node.weights[0];
  if (table.tensor.dtype() == DType::kI8) return CodeTable(node, table);
  return Gather(node.name, Constant(table), In(node), Matrix(graph_.value(node.output).type),
                tfl::TensorType::FLOAT32);
}

}  // namespace thimble
