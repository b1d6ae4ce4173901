#include "thimble/formats/tflite/emitter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "thimble/base/half.h"

namespace thimble {
namespace {

using tfl::TensorType;

constexpr TfliteEmitter::EmitOp kEmitTflite[] = {
#define OP(enumerator, name, file, stem, attributes) &TfliteEmitter::Emit##stem,
#include "thimble/graph/ops.inc"
#undef OP
};

// Options that say nothing else than what operator it is; some readers insist on them.
template <class Create>
TfliteWriter::Operator Plain(TfliteEmitter::Code code, tfl::BuiltinOptions type, Create create) {
  return {.code = code, .type = type, .options = create.Union()};
}

// Groups with scales have no form there; as halves they lose little and stay small.
bool BecomesHalf(DType dtype, const std::vector<float>& values) {
  constexpr float kLargestHalf = 65504;
  return dtype == DType::kF16 ||
         (HasGroupScales(dtype) && std::all_of(values.begin(), values.end(), [](float value) {
            return std::abs(value) <= kLargestHalf;
          }));
}

TfliteWriter::Operator DefaultOperator(TfliteEmitter::Code code,
                                       flatbuffers::FlatBufferBuilder& builder) {
  using Code = TfliteEmitter::Code;
  using Options = tfl::BuiltinOptions;
  switch (code) {
    case Code::ADD:
      return Plain(code, Options::AddOptions, tfl::CreateAddOptions(builder));
    case Code::SUB:
      return Plain(code, Options::SubOptions, tfl::CreateSubOptions(builder));
    case Code::MUL:
      return Plain(code, Options::MulOptions, tfl::CreateMulOptions(builder));
    case Code::DIV:
      return Plain(code, Options::DivOptions, tfl::CreateDivOptions(builder));
    case Code::MINIMUM:
    case Code::MAXIMUM:
      return Plain(code, Options::MaximumMinimumOptions, tfl::CreateMaximumMinimumOptions(builder));
    case Code::SOFTMAX:
      return Plain(code, Options::SoftmaxOptions, tfl::CreateSoftmaxOptions(builder, 1.0f));
    case Code::GELU:
      return Plain(code, Options::GeluOptions, tfl::CreateGeluOptions(builder, false));
    case Code::LEAKY_RELU:
      return Plain(code, Options::LeakyReluOptions, tfl::CreateLeakyReluOptions(builder, 0.01f));
    case Code::EQUAL:
      return Plain(code, Options::EqualOptions, tfl::CreateEqualOptions(builder));
    case Code::NOT_EQUAL:
      return Plain(code, Options::NotEqualOptions, tfl::CreateNotEqualOptions(builder));
    case Code::CUMSUM:
      return Plain(code, Options::CumsumOptions, tfl::CreateCumsumOptions(builder));
    case Code::SQUARED_DIFFERENCE:
      return Plain(code, Options::SquaredDifferenceOptions,
                   tfl::CreateSquaredDifferenceOptions(builder));
    default:
      return {.code = code};  // has none
  }
}

}  // namespace

TfliteEmitter::TfliteEmitter(const Model& model, const TfliteOptions& options)
    : model_(model),
      graph_(model.graph),
      options_(options),
      batch_(static_cast<int32_t>(options.batch)),
      sequence_(static_cast<int32_t>(TfliteSequence(model, options))),
      tensors_(graph_.values.size()) {}

TfliteWriter TfliteEmitter::Emit() && {
  const Dims dims = {batch_, sequence_};
  const Id ids = writer_.Input("ids", TensorType::INT32, dims);
  mask_ = writer_.Input("mask", TensorType::INT32, dims);
  const Id segment_ids = writer_.Input("segment_ids", TensorType::INT32, dims);
  for (const ValueId id : graph_.inputs) {
    const std::string& name = graph_.value(id).name;
    const Id input = name == kInputIds ? ids : segment_ids;
    tensors_[Index(id)] = Reshape(name, input, {TokenRows()}, TensorType::INT32);
  }
  const std::vector<GraphOutput> outputs = Outputs();
  std::vector<ValueId> values;
  values.reserve(outputs.size());
  for (const GraphOutput& output : outputs) values.push_back(output.value);
  const std::vector<bool> needed = NeededNodes(graph_, values);
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (!needed[i]) continue;
    tensors_[Index(node.output)] = (this->*kEmitTflite[static_cast<size_t>(node.op)])(node);
  }
  for (const GraphOutput& output : outputs) EmitOutput(output);
  return std::move(writer_);
}

// A task with logits reads these; what else its graph can give is left out unless asked for.
std::vector<GraphOutput> TfliteEmitter::Outputs() const {
  if (options_.hidden || model_.task == Task::kFeatures) return graph_.outputs;
  std::vector<GraphOutput> outputs;
  for (const GraphOutput& output : graph_.outputs) {
    if (output.name.find("logits") != std::string::npos) outputs.push_back(output);
  }
  return outputs.empty() ? graph_.outputs : outputs;
}

void TfliteEmitter::EmitOutput(const GraphOutput& output) {
  const ValueType& type = graph_.value(output.value).type;
  const Id value = tensors_[Index(output.value)];
  const bool is_logits = output.name == "logits";
  if (is_logits && model_.task == Task::kAnswers && type.width == 2) return EmitAnswers(output);
  // A copy even where the shape stays: a tensor has one name, and a value may be several outputs.
  const Dims dims = type.rows == Rows::kTokens
                        ? Dims{batch_, sequence_, static_cast<int32_t>(type.width)}
                        : Matrix(type);
  const Id shaped = Reshape(output.name, value, dims);
  if (is_logits && options_.logits == TfliteLogits::kScores) {
    const Code function = model_.task == Task::kMultiLabel ? Code::LOGISTIC : Code::SOFTMAX;
    const Id scores = Op(function, output.name, {shaped}, dims);
    const TfliteQuantization from_0_to_1{.scales = {1.0f / 256}, .zero_point = -128};
    return writer_.Output("probability", options_.int8_outputs
                                             ? Quantize("probability", scores, from_0_to_1)
                                             : scores);
  }
  writer_.Output(output.name, options_.int8_outputs
                                  ? Quantize(output.name, shaped, RangeOf(output.value))
                                  : shaped);
}

// [batch * sequence, 2] as two outputs [batch, sequence]: the order is that of the task libraries.
void TfliteEmitter::EmitAnswers(const GraphOutput& output) {
  const Id pairs = Reshape(output.name, tensors_[Index(output.value)], {batch_, sequence_, 2});
  for (const auto& [name, column] : {std::pair("end_logits", 1), std::pair("start_logits", 0)}) {
    auto& builder = writer_.builder();
    const TfliteWriter::Operator slice{
        .code = Code::STRIDED_SLICE,
        .type = tfl::BuiltinOptions::StridedSliceOptions,
        .options = tfl::CreateStridedSliceOptions(builder, 0b011, 0b011, 0, 0, 0b100).Union()};
    const Id begin = writer_.Int32s({{0, 0, column}}), end = writer_.Int32s({{0, 0, column + 1}});
    const Id part =
        Op(slice, name, {pairs, begin, end, writer_.Int32s({{1, 1, 1}})}, {batch_, sequence_});
    writer_.Output(name,
                   options_.int8_outputs ? Quantize(name, part, RangeOf(output.value)) : part);
  }
}

TfliteEmitter::Id TfliteEmitter::Op(Code code, std::string_view name,
                                    std::initializer_list<Id> inputs, Dims dims, TensorType type) {
  return Op(DefaultOperator(code, writer_.builder()), name, inputs, std::move(dims), type);
}

TfliteEmitter::Id TfliteEmitter::Op(TfliteWriter::Operator op, std::string_view name,
                                    std::initializer_list<Id> inputs, Dims dims, TensorType type,
                                    TfliteQuantization quantization) {
  const std::string full_name = std::string(name) + "/" + tfl::EnumNameBuiltinOperator(op.code);
  return writer_.Op(op, full_name, inputs, type, std::move(dims), std::move(quantization));
}

TfliteEmitter::Id TfliteEmitter::Same(Code code, std::string_view name,
                                      std::initializer_list<Id> inputs) {
  return Op(code, name, inputs, writer_.dims(*inputs.begin()));
}

TfliteEmitter::Id TfliteEmitter::Reshape(std::string_view name, Id x, Dims dims, TensorType type) {
  auto& builder = writer_.builder();
  const auto shape = builder.CreateVector(dims);
  const TfliteWriter::Operator op{.code = Code::RESHAPE,
                                  .type = tfl::BuiltinOptions::ReshapeOptions,
                                  .options = tfl::CreateReshapeOptions(builder, shape).Union()};
  const Id shape_constant = writer_.Int32s(dims);
  return Op(op, name, {x, shape_constant}, std::move(dims), type);
}

TfliteEmitter::Id TfliteEmitter::Transpose(std::string_view name, Id x, const Dims& order) {
  Dims dims;
  for (const int32_t axis : order) dims.push_back(writer_.dims(x)[static_cast<size_t>(axis)]);
  return Op(Code::TRANSPOSE, name, {x, writer_.Int32s(order)}, std::move(dims));
}

TfliteEmitter::Id TfliteEmitter::Cast(std::string_view name, Id x, TensorType from, TensorType to) {
  const TfliteWriter::Operator op{
      .code = Code::CAST,
      .type = tfl::BuiltinOptions::CastOptions,
      .options = tfl::CreateCastOptions(writer_.builder(), from, to).Union()};
  return Op(op, name, {x}, writer_.dims(x), to);
}

TfliteEmitter::Id TfliteEmitter::Reduce(Code code, std::string_view name, Id x, int32_t axis,
                                        bool keep_dims) {
  Dims dims = writer_.dims(x);
  if (keep_dims) {
    dims[static_cast<size_t>(axis)] = 1;
  } else {
    dims.erase(dims.begin() + axis);
  }
  const TfliteWriter::Operator op{
      .code = code,
      .type = tfl::BuiltinOptions::ReducerOptions,
      .options = tfl::CreateReducerOptions(writer_.builder(), keep_dims).Union()};
  return Op(op, name, {x, writer_.Int32s({{axis}})}, std::move(dims));
}

TfliteEmitter::Id TfliteEmitter::Gather(std::string_view name, Id table, Id ids, Dims dims,
                                        TensorType type) {
  const TfliteWriter::Operator op{
      .code = Code::GATHER,
      .version = type == TensorType::INT8 ? 2 : 1,
      .type = tfl::BuiltinOptions::GatherOptions,
      .options = tfl::CreateGatherOptions(writer_.builder(), 0).Union()};
  return Op(op, name, {table, ids}, std::move(dims), type);
}

const ValueType& TfliteEmitter::InType(const Node& node, size_t i) const {
  return graph_.value(node.inputs[i]).type;
}

bool TfliteEmitter::PerToken(const Node& node, size_t i) const {
  return InType(node, i).rows == Rows::kTokens;
}

TfliteEmitter::Dims TfliteEmitter::Matrix(const ValueType& type) const {
  const int32_t rows = type.rows == Rows::kTokens ? TokenRows() : batch_;
  return {rows, static_cast<int32_t>(type.width)};
}

TfliteEmitter::Id TfliteEmitter::Sequences(const Node& node, size_t input) {
  const auto width = static_cast<int32_t>(InType(node, input).width);
  return Reshape(node.name, In(node, input), {batch_, sequence_, width});
}

TfliteEmitter::Id TfliteEmitter::Cached(const Weight& weight, std::string_view form,
                                        const std::function<Id()>& make) {
  const auto address = reinterpret_cast<uintptr_t>(weight.tensor.data().data());
  std::string key = std::to_string(address) + ShapeText(weight.tensor.shape()) + std::string(form);
  const auto place = cached_.find(key);
  if (place != cached_.end()) return place->second;
  return cached_[std::move(key)] = make();
}

TfliteEmitter::Id TfliteEmitter::Constant(const Weight& weight) {
  return Cached(weight, "as is", [&] {
    const std::vector<float> values = weight.tensor.ToFloats();
    const Dims dims(weight.tensor.shape().begin(), weight.tensor.shape().end());
    if (dims.size() < 2 || !BecomesHalf(weight.tensor.dtype(), values)) {
      return writer_.Floats(weight.name, dims, values);
    }
    std::string halves;
    for (const float value : values) {
      const uint16_t half = FloatToHalf(value);
      halves.append(reinterpret_cast<const char*>(&half), sizeof half);
    }
    const Id constant = writer_.Constant(weight.name, TensorType::FLOAT16, dims, std::move(halves));
    constexpr int32_t kFromFloat16 = 3;
    return Dequantize(weight.name, constant, kFromFloat16);
  });
}

}  // namespace thimble
