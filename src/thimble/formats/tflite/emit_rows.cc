// Everything that is neither product nor attention.
#include <limits>

#include "thimble/formats/tflite/emitter.h"

namespace thimble {

using tfl::TensorType;

// A running count along each sequence: of all tokens, or of those that are not skipped; a skipped one
// gets offset - 1. Ids are a vector [batch * sequence], as GATHER gives rows for them.
TfliteEmitter::Id TfliteEmitter::EmitPositionIds(const Node& node) {
  const auto& attrs = std::get<PositionIdsAttrs>(node.attrs);
  const Dims dims = {batch_, sequence_};
  const bool skips = attrs.skip_id >= 0;
  if (!skips && sequence_ >= 0) {
    std::vector<int32_t> positions;
    positions.reserve(static_cast<size_t>(batch_ * sequence_));
    for (int32_t i = 0; i < batch_ * sequence_; ++i) {
      positions.push_back(static_cast<int32_t>(attrs.offset) + i % sequence_);
    }
    return writer_.Int32s(positions);
  }
  const auto ints = [&](Code code, Id x, Id y) {
    return Op(code, node.name, {x, y}, dims, TensorType::INT32);
  };
  const auto scalar = [&](int64_t value) {
    const auto narrow = static_cast<int32_t>(value);
    return writer_.Int32Table({}, {&narrow, 1});
  };
  const Id ids = Reshape(node.name, In(node), dims, TensorType::INT32);
  // 1 where a token counts, else 0
  const auto count_of_one = [&] {
    if (!skips) return ints(Code::ADD, ints(Code::SUB, ids, ids), scalar(1));
    const Id kept =
        Op(Code::NOT_EQUAL, node.name, {ids, scalar(attrs.skip_id)}, dims, TensorType::BOOL);
    return Cast(node.name, kept, TensorType::BOOL, TensorType::INT32);
  };
  const Id counted = count_of_one();
  Id count = ints(Code::CUMSUM, counted, scalar(1));
  if (skips) count = ints(Code::MUL, count, counted);
  const Id positions = ints(Code::ADD, count, scalar(attrs.offset - 1));
  return Reshape(node.name, positions, {TokenRows()}, TensorType::INT32);
}

TfliteEmitter::Id TfliteEmitter::EmitTrigram(const Node& node) {
  const auto width = static_cast<int32_t>(InType(node).width);
  const int32_t padded_tokens = sequence_ < 0 ? -1 : sequence_ + 2;
  const Id one_around = writer_.Int32Table({3, 2}, {{0, 0, 1, 1, 0, 0}});
  const TfliteWriter::Operator pad{.code = Code::PAD,
                                   .type = tfl::BuiltinOptions::PadOptions,
                                   .options = tfl::CreatePadOptions(writer_.builder()).Union()};
  const Id padded =
      Op(pad, node.name, {Sequences(node), one_around}, {batch_, padded_tokens, width});
  const auto from = [&](int32_t begin) {
    // The beginning of the tokens counts, and their end unless it is that of `padded`.
    const int32_t end_mask = begin == 2 ? 0b111 : 0b101;
    const TfliteWriter::Operator slice{
        .code = Code::STRIDED_SLICE,
        .type = tfl::BuiltinOptions::StridedSliceOptions,
        .options = tfl::CreateStridedSliceOptions(writer_.builder(), 0b101, end_mask).Union()};
    return Op(slice, node.name,
              {padded, writer_.Int32s({{0, begin, 0}}), writer_.Int32s({{0, begin - 2, 0}}),
               writer_.Int32s({{1, 1, 1}})},
              {batch_, sequence_, width});
  };
  const TfliteWriter::Operator concat{
      .code = Code::CONCATENATION,
      .type = tfl::BuiltinOptions::ConcatenationOptions,
      .options = tfl::CreateConcatenationOptions(writer_.builder(), 2).Union()};
  const Id next = from(2), same = from(1), previous = from(0);
  const Id three = Op(concat, node.name, {next, same, previous}, {batch_, sequence_, 3 * width});
  return Reshape(node.name, three, {TokenRows(), 3 * width});
}

TfliteEmitter::Id TfliteEmitter::EmitLayerNorm(const Node& node) {
  const auto epsilon = static_cast<float>(std::get<LayerNormAttrs>(node.attrs).epsilon);
  const Id x = In(node);
  const Id mean = Reduce(Code::MEAN, node.name, x, 1, true);
  const Id squares = Same(Code::SQUARED_DIFFERENCE, node.name, {x, mean});
  const Id variance = Reduce(Code::MEAN, node.name, squares, 1, true);
  const Id inverse = Same(Code::RSQRT, node.name,
                          {Same(Code::ADD, node.name, {variance, writer_.Float(epsilon)})});
  const Id unit = Same(Code::MUL, node.name, {Same(Code::SUB, node.name, {x, mean}), inverse});
  const Id scaled = Same(Code::MUL, node.name, {unit, Constant(node.weights[0])});
  return Same(Code::ADD, node.name, {scaled, Constant(node.weights[1])});
}

TfliteEmitter::Id TfliteEmitter::EmitAffine(const Node& node) {
  const Id scaled = Same(Code::MUL, node.name, {In(node), Constant(node.weights[0])});
  return Same(Code::ADD, node.name, {scaled, Constant(node.weights[1])});
}

TfliteEmitter::Id TfliteEmitter::Clip(std::string_view name, Id x, float low, float high) {
  return Same(Code::MINIMUM, name,
              {Same(Code::MAXIMUM, name, {x, writer_.Float(low)}), writer_.Float(high)});
}

// x tanh(log(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2). From 20 on the fraction is 1 in float32.
TfliteEmitter::Id TfliteEmitter::Mish(std::string_view name, Id x) {
  const Id power = Same(Code::EXP, name, {Same(Code::MINIMUM, name, {x, writer_.Float(20)})});
  const Id n = Same(Code::MUL, name, {power, Same(Code::ADD, name, {power, writer_.Float(2)})});
  const Id fraction = Same(Code::DIV, name, {n, Same(Code::ADD, name, {n, writer_.Float(2)})});
  return Same(Code::MUL, name, {x, fraction});
}

TfliteEmitter::Id TfliteEmitter::EmitActivation(const Node& node) {
  return ApplyActivation(node, In(node));
}

TfliteEmitter::Id TfliteEmitter::ApplyActivation(const Node& node, Id x) {
  const std::string_view name = node.name;
  switch (std::get<ActivationAttrs>(node.attrs).function) {
    case Activation::kIdentity:
      return x;
    case Activation::kRelu:
      return Same(Code::RELU, name, {x});
    case Activation::kRelu6:
      return Same(Code::RELU6, name, {x});
    case Activation::kRelu2: {
      const Id positive = Same(Code::RELU, name, {x});
      return Same(Code::MUL, name, {positive, positive});
    }
    case Activation::kGelu:
      return Same(Code::GELU, name, {x});
    case Activation::kGeluTanh:
      return Op({.code = Code::GELU,
                 .type = tfl::BuiltinOptions::GeluOptions,
                 .options = tfl::CreateGeluOptions(writer_.builder(), true).Union()},
                name, {x}, writer_.dims(x));
    case Activation::kQuickGelu: {
      const Id scaled = Same(Code::MUL, name, {x, writer_.Float(1.702f)});
      return Same(Code::MUL, name, {x, Same(Code::LOGISTIC, name, {scaled})});
    }
    case Activation::kGelu10:
      return Clip(name, Same(Code::GELU, name, {x}), -10, 10);
    case Activation::kLeakyRelu:
      return Same(Code::LEAKY_RELU, name, {x});
    case Activation::kSilu:
      return Same(Code::MUL, name, {x, Same(Code::LOGISTIC, name, {x})});
    case Activation::kMish:
      return Mish(name, x);
    case Activation::kSigmoid:
      return Same(Code::LOGISTIC, name, {x});
    case Activation::kTanh:
      return Same(Code::TANH, name, {x});
  }
  return x;
}

TfliteEmitter::Id TfliteEmitter::EmitAdd(const Node& node) {
  return Same(Code::ADD, node.name, {In(node, 0), In(node, 1)});
}

TfliteEmitter::Id TfliteEmitter::FloatMask() {
  if (float_mask_ < 0) {
    const Id mask = Cast("token_mask", mask_, TensorType::INT32, TensorType::FLOAT32);
    float_mask_ = Reshape("token_mask", mask, {batch_, sequence_, 1});
  }
  return float_mask_;
}

TfliteEmitter::Id TfliteEmitter::EmitPool(const Node& node) {
  const auto width = static_cast<int32_t>(InType(node).width);
  const Id x = Sequences(node);
  if (std::get<PoolAttrs>(node.attrs).kind == PoolKind::kFirst) {
    const TfliteWriter::Operator slice{
        .code = Code::STRIDED_SLICE,
        .type = tfl::BuiltinOptions::StridedSliceOptions,
        .options =
            tfl::CreateStridedSliceOptions(writer_.builder(), 0b101, 0b101, 0, 0, 0b010).Union()};
    return Op(
        slice, node.name,
        {x, writer_.Int32s({{0, 0, 0}}), writer_.Int32s({{0, 1, 0}}), writer_.Int32s({{1, 1, 1}})},
        {batch_, width});
  }
  const Id masked = Same(Code::MUL, node.name, {x, FloatMask()});
  const Id sum = Reduce(Code::SUM, node.name, masked, 1, false);
  // Where every token is masked the sum is zero, and so is the mean.
  const Id tokens = Reduce(Code::SUM, node.name, FloatMask(), 1, false);
  const Id count = Same(Code::MAXIMUM, node.name, {tokens, writer_.Float(1)});
  return Same(Code::DIV, node.name, {sum, count});
}

TfliteEmitter::Id TfliteEmitter::EmitL2Normalize(const Node& node) {
  const Id x = In(node);
  const Id squares = Reduce(Code::SUM, node.name, Same(Code::MUL, node.name, {x, x}), 1, true);
  // A row of zeros stays one.
  const Id above_zero =
      Same(Code::MAXIMUM, node.name, {squares, writer_.Float(std::numeric_limits<float>::min())});
  return Same(Code::MUL, node.name, {x, Same(Code::RSQRT, node.name, {above_zero})});
}

}  // namespace thimble
