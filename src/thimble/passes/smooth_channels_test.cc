#include "thimble/passes/smooth_channels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace thimble {
namespace {

using testing::ElementsAre;

constexpr int64_t kWidth = 8;
constexpr int32_t kWords = 12;

// Numbers in [-1, 1) that look random.
class Numbers {
 public:
  Weight Make(const std::string& name, Shape shape, float center = 0) {
    std::vector<float> values(*ElementCount(shape));
    for (float& v : values) {
      state_ = state_ * 1664525 + 1013904223;
      v = center + static_cast<float>(state_ >> 8) * 0x1p-23f - 1;
    }
    return {name, Tensor::FromFloats(std::move(shape), values)};
  }

 private:
  uint32_t state_ = 1;
};

// A stream as MobileBERT has it: affines, residuals, ReLU, values of an attention, pooling; one channel is large.
Graph Stream() {
  Numbers numbers;
  Builder b;
  const ValueId ids = b.Input(kInputIds);
  const auto linear = [&](const std::string& name, ValueId x, int64_t outputs) {
    return b.Add(OpKind::kLinear, name, {x},
                 {numbers.Make(name + ".weight", {outputs, b.type(x).width}),
                  numbers.Make(name + ".bias", {outputs})});
  };
  const auto affine = [&](const std::string& name, ValueId x) {
    Weight gain = numbers.Make(name + ".weight", {b.type(x).width}, 2);
    std::vector<float> values = gain.tensor.ToFloats();
    values[3] *= 50;
    gain.tensor = Tensor::FromFloats(gain.tensor.shape(), values);
    return b.Add(OpKind::kAffine, name, {x},
                 {std::move(gain), numbers.Make(name + ".bias", {b.type(x).width})});
  };
  ValueId x =
      b.Add(OpKind::kEmbedding, "words", {ids}, {numbers.Make("words.weight", {kWords, kWidth})});
  x = affine("norm", x);
  const ValueId q = linear("q", x, 8), k = linear("k", x, 8), v = linear("v", x, 6);
  ValueId a = b.Add(OpKind::kAttention, "attention", {q, k, v}, {}, AttentionAttrs{2, 0.5});
  x = affine("norm1", b.Add(OpKind::kAdd, "add1", {linear("out", a, kWidth), x}));
  ValueId f = linear("up", x, 10);
  f = b.Add(OpKind::kActivation, "relu", {f}, {}, ActivationAttrs{Activation::kRelu});
  x = affine("norm2", b.Add(OpKind::kAdd, "add2", {linear("down", f, kWidth), x}));
  b.Output("last_hidden_state", x);
  const ValueId pooled = b.Add(OpKind::kPool, "pool", {x}, {}, PoolAttrs{PoolKind::kMean});
  b.Output("logits", linear("classifier", pooled, 3));
  return *std::move(b).Finish(16);
}

std::vector<ReferenceValue> RunGraph(const Graph& graph, std::vector<std::string_view> outputs) {
  const std::vector<int32_t> offsets = {0, 4, 9}, ids = {1, 5, 9, 2, 7, 3, 11, 0, 4};
  const std::span<const int32_t> inputs[] = {ids};
  auto values = RunReference(graph, {offsets, {}}, inputs, outputs);
  EXPECT_TRUE(values.has_value());
  return *std::move(values);
}

// What each value reaches, per channel.
std::vector<std::vector<float>> Largest(const Graph& graph) {
  Graph copy = graph;
  std::vector<std::string> names;
  copy.outputs.clear();
  for (const Node& node : graph.nodes) copy.outputs.push_back({node.name, node.output});
  std::vector<std::string_view> wanted;
  for (const GraphOutput& output : copy.outputs) wanted.push_back(output.name);
  const auto values = RunGraph(copy, wanted);
  std::vector<std::vector<float>> largest(graph.values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    std::vector<float>& channels = largest[Index(copy.outputs[i].value)];
    channels.resize(static_cast<size_t>(values[i].type.width));
    for (size_t j = 0; j < values[i].floats.size(); ++j) {
      float& at = channels[j % channels.size()];
      at = std::max(at, std::abs(values[i].floats[j]));
    }
  }
  return largest;
}

float Spread(const std::vector<float>& channels) {
  float largest = 0, sum = 0;
  for (const float c : channels) largest = std::max(largest, c), sum += c;
  return largest / sum * static_cast<float>(channels.size());
}

TEST(SmoothChannels, ComputesTheSameBitsWithFlatterActivations) {
  const Graph graph = Stream();
  const auto before = Largest(graph);
  const Result<Smoothed> smoothed = SmoothChannels(graph, before, 0.5);
  ASSERT_TRUE(smoothed.has_value()) << smoothed.error().message();
  // The stream, what the values of the attention become, and what the ReLU gives.
  EXPECT_EQ(smoothed->streams, 3u);
  const auto want = RunGraph(graph, {"logits", "last_hidden_state"});
  const auto got = RunGraph(smoothed->graph, {"logits", "last_hidden_state"});
  EXPECT_EQ(got[0].floats, want[0].floats);
  EXPECT_EQ(got[1].floats, want[1].floats);
  const auto after = Largest(smoothed->graph);
  const size_t stream = Index(graph.FindNode("norm2")->output);
  EXPECT_LT(Spread(after[stream]), Spread(before[stream]));
  // All the way into activations: as flat as powers of two make them.
  const auto flat = Largest(SmoothChannels(graph, before, 1)->graph);
  EXPECT_LT(Spread(flat[Index(graph.FindNode("relu")->output)]), 2.0f);
}

// Nothing moves through what is not linear in each channel, nor into weights that others read too.
TEST(SmoothChannels, LeavesAloneWhatItCannotMove) {
  const auto streams_of = [](const std::function<ValueId(Builder&, Numbers&, ValueId)>& between) {
    Numbers numbers;
    Builder b;
    const ValueId ids = b.Input(kInputIds);
    ValueId x =
        b.Add(OpKind::kEmbedding, "words", {ids}, {numbers.Make("words.weight", {kWords, kWidth})});
    x = b.Add(OpKind::kLinear, "first", {x}, {numbers.Make("first.weight", {kWidth, kWidth})});
    x = between(b, numbers, x);
    b.Output("logits", b.Add(OpKind::kLinear, "second", {x},
                             {numbers.Make("second.weight", {3, b.type(x).width})}));
    const Graph graph = *std::move(b).Finish(16);
    std::vector<std::vector<float>> largest(graph.values.size());
    largest[Index(graph.FindNode("second")->inputs[0])].assign(
        static_cast<size_t>(graph.value(graph.FindNode("second")->inputs[0]).type.width), 9.0f);
    const Result<Smoothed> smoothed = SmoothChannels(graph, largest, 1);
    EXPECT_TRUE(smoothed.has_value());
    return smoothed->streams;
  };
  const auto activation = [](Activation function) {
    return [function](Builder& b, Numbers&, ValueId x) {
      return b.Add(OpKind::kActivation, "act", {x}, {}, ActivationAttrs{function});
    };
  };
  EXPECT_EQ(streams_of(activation(Activation::kRelu)), 1u);
  EXPECT_EQ(streams_of(activation(Activation::kGelu)), 0u);
  EXPECT_EQ(streams_of(activation(Activation::kRelu6)), 0u);
  EXPECT_EQ(streams_of([](Builder& b, Numbers&, ValueId x) {
              return b.Add(OpKind::kTrigram, "trigram", {x});
            }),
            0u);
  EXPECT_EQ(streams_of([](Builder& b, Numbers& numbers, ValueId x) {
              const Weight gain = numbers.Make("norm.weight", {kWidth});
              b.Add(OpKind::kLayerNorm, "other", {x}, {gain, numbers.Make("b", {kWidth})},
                    LayerNormAttrs{});
              return x;
            }),
            0u);
  EXPECT_EQ(streams_of([](Builder& b, Numbers& numbers, ValueId x) {
              const Weight shared = numbers.Make("shared.weight", {kWidth, kWidth});
              x = b.Add(OpKind::kLinear, "once", {x}, {shared});
              return b.Add(OpKind::kLinear, "again", {x}, {shared});
            }),
            0u);
}

TEST(SmoothChannels, RefusesAStrengthThatIsNone) {
  EXPECT_FALSE(SmoothChannels(Stream(), std::vector<std::vector<float>>(99), 1.5).has_value());
}

}  // namespace
}  // namespace thimble
