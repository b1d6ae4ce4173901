// Exported files, judged by others: the ONNX project's checker and shape inference, and ONNX
// Runtime against the graph's own reference where Node and the npm package onnxruntime-node are at
// hand.
#include "thimble/formats/onnx/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <onnx/checker.h>
#include <onnx/shape_inference/implementation.h>
#include <map>

#include "tests/onnx/recording.h"
#include "tests/support/judged.h"
#include "thimble/formats/thimble/example_model.h"
#include "thimble/graph/panels.h"
#include "thimble/passes/passes.h"

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kWords = 13;
constexpr int64_t kWidth = 8;

// Numbers in [-1, 1) that look random.
std::vector<float> Numbers(size_t count) {
  static uint32_t state = 1;
  std::vector<float> numbers(count);
  for (float& number : numbers) {
    state = state * 1664525 + 1013904223;
    number = static_cast<float>(state >> 8) * 0x1p-23f - 1;
  }
  return numbers;
}

Weight Matrix(const std::string& name, int64_t rows, int64_t columns) {
  return {name, Tensor::FromFloats({rows, columns}, Numbers(static_cast<size_t>(rows * columns)))};
}

Weight Vector(const std::string& name, int64_t size) {
  return {name, Tensor::FromFloats({size}, Numbers(static_cast<size_t>(size)))};
}

// Every operation, and every activation function.
Graph EveryOperation() {
  Builder b;
  const ValueId ids = b.Input(kInputIds);
  const ValueId types = b.Input(kTokenTypeIds);
  const Weight words = Matrix("words.weight", kWords, kWidth);
  const auto embed = [&](const char* name, ValueId from, Weight table) {
    return b.Add(OpKind::kEmbedding, name, {from}, {std::move(table)});
  };
  const auto linear = [&](const std::string& name, ValueId x, int64_t width) {
    return b.Add(OpKind::kLinear, name, {x},
                 {Matrix(name + ".weight", width, b.type(x).width), Vector(name + ".bias", width)});
  };
  const ValueId places = b.Add(OpKind::kPositionIds, "places", {ids}, {}, PositionIdsAttrs{1, -1});
  const ValueId counted = b.Add(OpKind::kPositionIds, "counted", {ids}, {}, PositionIdsAttrs{2, 1});
  ValueId x = embed("words", ids, words);
  x = b.Add(OpKind::kAdd, "add_types",
            {x, embed("types", types, Matrix("types.weight", 2, kWidth))});
  x = b.Add(OpKind::kAdd, "add_places",
            {x, embed("place_table", places, Matrix("place_table.weight", 9, kWidth))});
  x = b.Add(OpKind::kAdd, "add_counted",
            {x, embed("count_table", counted, Matrix("count_table.weight", 9, kWidth))});
  x = linear("narrow", b.Add(OpKind::kTrigram, "trigram", {x}), kWidth);
  for (int i = 0;
       const auto& name : {"linear", "relu", "relu6", "relu2", "gelu", "gelu_new", "quick_gelu",
                           "gelu_10", "leaky_relu", "silu", "mish", "sigmoid", "tanh"}) {
    const std::string step = "step" + std::to_string(i++);
    const ValueId wide = linear(step + ".dense", x, kWidth);
    const ValueId active = b.Add(OpKind::kActivation, step + ".activation", {wide}, {},
                                 ActivationAttrs{*ActivationFromName(name)});
    x = b.Add(OpKind::kLayerNorm, step + ".norm", {b.Add(OpKind::kAdd, step + ".add", {active, x})},
              {Vector(step + ".norm.weight", kWidth), Vector(step + ".norm.bias", kWidth)},
              LayerNormAttrs{1e-3});
  }
  const ValueId context =
      b.Add(OpKind::kAttention, "attention",
            {linear("query", x, 12), linear("key", x, 12), linear("value", x, 6)}, {},
            AttentionAttrs{3, 0.7});
  x = b.Add(OpKind::kAffine, "affine", {context}, {Vector("gamma", 6), Vector("beta", 6)});
  b.Output("last_hidden_state", x);
  const ValueId first = b.Add(OpKind::kPool, "first", {x}, {}, PoolAttrs{PoolKind::kFirst});
  const ValueId mean = b.Add(OpKind::kPool, "mean", {x}, {}, PoolAttrs{PoolKind::kMean});
  const ValueId asked =
      b.Add(OpKind::kAttention, "asked", {first, x, x}, {}, AttentionAttrs{2, 1.5});
  b.Output("asked", asked);
  b.Output("pooled", b.Add(OpKind::kL2Normalize, "unit", {mean}));
  b.Output("logits", b.Add(OpKind::kLinear, "decoder",
                           {b.Add(OpKind::kActivation, "wide", {linear("widen", x, kWidth)}, {},
                                  ActivationAttrs{Activation::kRelu})},
                           {words}));
  Result<Graph> graph = std::move(b).Finish(8);
  EXPECT_TRUE(graph.has_value()) << graph.error().message();
  return *std::move(graph);
}

Model EveryOperationModel() {
  Model model;
  model.architecture = "every_operation";
  model.graph = EveryOperation();
  return model;
}

onnx::ModelProto Parse(const std::string& file) {
  onnx::ModelProto proto;
  EXPECT_TRUE(proto.ParseFromString(file));
  return proto;
}

std::map<std::string, int> CountOps(const onnx::ModelProto& proto) {
  std::map<std::string, int> counts;
  for (const onnx::NodeProto& node : proto.graph().node()) ++counts[node.op_type()];
  return counts;
}

// "batch", "sequence", 8
std::vector<std::string> Dims(const onnx::ValueInfoProto& value) {
  std::vector<std::string> dims;
  for (const auto& dim : value.type().tensor_type().shape().dim()) {
    dims.push_back(dim.has_dim_param() ? dim.dim_param() : std::to_string(dim.dim_value()));
  }
  return dims;
}

class EveryOpset : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Opsets, EveryOpset, testing::Range(13, 18),
                         [](const auto& opset) { return std::to_string(opset.param); });

TEST_P(EveryOpset, PassesTheChecker) {
  for (const char* pass : {"", "weights_to_f16", "weights_to_int8"}) {
    Model model = EveryOperationModel();
    if (*pass != '\0') model.graph = *RunPass(*FindPass(pass), model.graph);
    const Result<std::string> file = SerializeOnnx(model, {.opset = GetParam()});
    ASSERT_TRUE(file.has_value()) << file.error().message();
    onnx::ModelProto proto = Parse(*file);
    EXPECT_NO_THROW(onnx::checker::check_model(proto)) << pass;
    onnx::ShapeInferenceOptions strict{true, 1, true};
    EXPECT_NO_THROW(
        onnx::shape_inference::InferShapes(proto, onnx::OpSchemaRegistry::Instance(), strict))
        << pass;
  }
}

TEST(Onnx, NamesInputsAndOutputs) {
  const onnx::GraphProto graph = Parse(*SerializeOnnx(EveryOperationModel())).graph();
  std::vector<std::string> inputs, outputs;
  for (const auto& input : graph.input()) {
    inputs.push_back(input.name());
    EXPECT_THAT(Dims(input), ElementsAre("batch", "sequence"));
  }
  for (const auto& output : graph.output()) outputs.push_back(output.name());
  EXPECT_THAT(inputs, ElementsAre("input_ids", "attention_mask", "token_type_ids"));
  EXPECT_THAT(outputs, ElementsAre("last_hidden_state", "asked", "pooled", "logits"));
  EXPECT_THAT(Dims(graph.output(0)), ElementsAre("batch", "sequence", "6"));
  EXPECT_THAT(Dims(graph.output(2)), ElementsAre("batch", "6"));
}

TEST(Onnx, StoresTiedWeightsOnce) {
  const onnx::GraphProto graph = Parse(*SerializeOnnx(EveryOperationModel())).graph();
  int tables = 0;
  for (const auto& constant : graph.initializer()) {
    if (constant.dims_size() == 2 && constant.dims(0) == kWords) ++tables;
  }
  EXPECT_EQ(tables, 1);
}

TEST(Onnx, QuantizesAnInputOnceForAllItsProducts) {
  Model model = EveryOperationModel();
  model.graph = *RunPass(*FindPass("weights_to_int8"), model.graph);
  const std::map<std::string, int> ops = CountOps(Parse(*SerializeOnnx(model)));
  // narrow, 13 steps, query, key, value and widen; the decoder computes logits and stays float32.
  EXPECT_EQ(ops.at("MatMulInteger"), 18);
  EXPECT_EQ(ops.at("DynamicQuantizeLinear"), 16);
  EXPECT_EQ(ops.at("Gemm"), 1);
}

std::map<std::string, onnx::TensorProto> Constants(const onnx::GraphProto& graph) {
  std::map<std::string, onnx::TensorProto> constants;
  for (const auto& constant : graph.initializer()) constants[constant.name()] = constant;
  return constants;
}

// The same numbers: codes minus the zero point. Tables that are looked up stay as they are.
TEST(Onnx, WritesUnsignedCodes) {
  Model model = EveryOperationModel();
  model.graph = *RunPass(*FindPass("weights_to_int8"), model.graph);
  const auto plain = Constants(Parse(*SerializeOnnx(model)).graph());
  const onnx::GraphProto graph =
      Parse(*SerializeOnnx(model, {.codes = OnnxCodes::kUnsigned})).graph();
  const auto shifted = Constants(graph);
  size_t products = 0;
  for (const auto& node : graph.node()) {
    if (node.op_type() != "MatMulInteger") continue;
    ++products;
    ASSERT_EQ(node.input_size(), 4);
    EXPECT_EQ(shifted.at(node.input(3)).raw_data(), std::string(1, '\x80'));
    const onnx::TensorProto& before = plain.at(node.input(1));
    const onnx::TensorProto& after = shifted.at(node.input(1));
    ASSERT_EQ(before.data_type(), onnx::TensorProto::INT8);
    ASSERT_EQ(after.data_type(), onnx::TensorProto::UINT8);
    ASSERT_EQ(after.raw_data().size(), before.raw_data().size());
    for (size_t i = 0; i < before.raw_data().size(); ++i) {
      ASSERT_EQ(static_cast<uint8_t>(after.raw_data()[i]) - 128,
                static_cast<int8_t>(before.raw_data()[i]));
    }
  }
  EXPECT_EQ(products, 18u);
}

TEST(Onnx, WritesTheSameFileFromPanels) {
  for (const char* pass : {"weights_to_f16", "weights_to_int8"}) {
    Model model = EveryOperationModel();
    model.graph = *RunPass(*FindPass(pass), model.graph);
    const std::string from_rows = *SerializeOnnx(model);
    for (Node& node : model.graph.nodes) {
      // The tied decoder keeps its storage, or it would no longer be tied.
      if (node.op != OpKind::kLinear || node.name == "decoder") continue;
      node.weights[0].tensor = PackPanels(node.weights[0].tensor);
    }
    EXPECT_EQ(*SerializeOnnx(model), from_rows) << pass;
  }
}

TEST(Onnx, CarriesLabelsAndProvenance) {
  const onnx::ModelProto proto = Parse(*SerializeOnnx(ExampleModel()));
  std::map<std::string, std::string> metadata;
  for (const auto& entry : proto.metadata_props()) {
    metadata[entry.key()] = entry.value();
  }
  EXPECT_EQ(metadata["thimble.task"], "multi_label");
  EXPECT_EQ(metadata["thimble.label.1"], "b");
  EXPECT_EQ(metadata["thimble.provenance.source"], "made up");
}

TEST(Onnx, RefusesOtherOpsets) {
  for (const int opset : {12, 18}) {
    const Result<std::string> file = SerializeOnnx(ExampleModel(), {.opset = opset});
    ASSERT_FALSE(file.has_value());
    EXPECT_THAT(file.error().message(), HasSubstr("13 to 17"));
  }
}

// --- Against ONNX Runtime

class JudgedOnnx : public JudgedByOnnxRuntime {
 protected:
  // Whether ONNX Runtime gives what the reference of `graph` gives.
  bool AgreesWithReference(const Graph& graph, int opset, const char* tolerance,
                           OnnxCodes codes = OnnxCodes::kSigned) const {
    Model model;
    model.architecture = "test";
    model.graph = graph;
    EXPECT_TRUE(
        ExportOnnx(model, folder_ + "/m.onnx", {.opset = opset, .codes = codes}).has_value());
    EXPECT_TRUE(Record(graph).Write(folder_ + "/m.safetensors").has_value());
    return Agrees(folder_ + "/m.onnx " + folder_ + "/m.safetensors --tolerance " + tolerance);
  }
};

// Float32 against double precision through about 20 layers of width 8.
TEST_F(JudgedOnnx, AgreesInFloat32) {
  const Graph graph = EveryOperation();
  EXPECT_TRUE(AgreesWithReference(graph, 13, "2e-5"));
  EXPECT_TRUE(AgreesWithReference(graph, 17, "2e-5"));
}

// The reference widens the same float16 weights: no further rounding is allowed.
TEST_F(JudgedOnnx, AgreesWithFloat16Weights) {
  EXPECT_TRUE(
      AgreesWithReference(*RunPass(*FindPass("weights_to_f16"), EveryOperation()), 17, "2e-5"));
}

// ONNX Runtime rounds activations to 8 bits, the reference does not: each of the 16 quantized
// products in a row adds about 1/255 of the spread of its input; independent errors add as roots.
TEST_F(JudgedOnnx, ComesCloseInInt8) {
  // Of signed codes its products saturate where a processor has no VNNI.
  EXPECT_TRUE(AgreesWithReference(*RunPass(*FindPass("weights_to_int8"), EveryOperation()), 17,
                                  "2e-2", OnnxCodes::kUnsigned));
}

// Codes of activations are rounded as ours are: what differs is which way a tie falls.
TEST_F(JudgedOnnx, AgreesInStaticInt8) {
  Graph graph = *RunPass(*FindPass("weights_to_int8"), EveryOperation());
  for (Node& node : graph.nodes) {
    if (node.op != OpKind::kLinear || node.weights[0].tensor.dtype() != DType::kI8) continue;
    node.attrs = LinearAttrs{.input_scale = 0.03};
  }
  for (const OnnxStatic form : {OnnxStatic::kIntegers, OnnxStatic::kQdq}) {
    Model model;
    model.architecture = "test";
    model.graph = graph;
    const OnnxOptions options{.opset = 13, .codes = OnnxCodes::kUnsigned, .static_form = form};
    const onnx::ModelProto proto = Parse(*SerializeOnnx(model, options));
    EXPECT_NO_THROW(onnx::checker::check_model(proto));
    EXPECT_EQ(CountOps(proto)["DequantizeLinear"], form == OnnxStatic::kQdq ? 36 : 0);
    ASSERT_TRUE(ExportOnnx(model, folder_ + "/m.onnx", options).has_value());
    ASSERT_TRUE(Record(graph).Write(folder_ + "/m.safetensors").has_value());
    EXPECT_TRUE(Agrees(folder_ + "/m.onnx " + folder_ + "/m.safetensors --tolerance 1e-5"));
  }
}

}  // namespace
}  // namespace thimble
