// Several adapters beside one base, from their files to predictions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <memory>
#include <set>

#include "thimble/base/random.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/passes/lora.h"
#include "thimble/passes/passes.h"
#include "thimble/passes/replace_head.h"
#include "thimble/runtime/predictor.h"
#include "thimble/runtime/test_graphs.h"

namespace thimble {
namespace {

// As a file in memory would be mapped.
std::pair<std::span<const std::byte>, std::shared_ptr<const void>> Mapped(const std::string& file) {
  auto bytes = std::make_shared<Tensor>(Tensor::Copy(
      DType::kU8, {static_cast<int64_t>(file.size())}, std::as_bytes(std::span(file))));
  const std::span<const std::byte> data = bytes->data();
  return {data, std::move(bytes)};
}

Model Base(DType weights) {
  Model model;
  model.task = Task::kSingleLabel;
  model.labels = {"a", "b", "c"};
  model.graph = TestGraph(weights).Encoder();
  const auto [bytes, owner] = Mapped(*SerializeThimble(model));
  return *ParseThimble(bytes, owner);
}

// The base with a head of `labels` labels and matrices as training leaves them: B is not zero.
Model Adapted(const Model& base, int64_t labels, const std::vector<std::string>& targets,
              uint64_t seed) {
  Model model = base;
  model.labels.assign(static_cast<size_t>(labels), "");
  for (int64_t i = 0; i < labels; ++i) model.labels[static_cast<size_t>(i)] = std::to_string(i);
  model.graph = *ReplaceHead(base.graph, {.labels = labels, .spread = 0.5, .seed = seed});
  model.graph = *AddLora(model.graph, {.rank = 4, .targets = targets, .seed = seed});
  Random random(seed, 1);
  for (const LoraBranch& branch : FindLora(model.graph)) {
    Tensor& up = model.graph.nodes[branch.up].weights[0].tensor;
    std::vector<float> values(up.elements());
    for (float& v : values) v = static_cast<float>(0.3 * random.Normal());
    up = Tensor::FromFloats(up.shape(), values);
  }
  return model;
}

Model ThroughItsFile(const Model& model, const Model& base) {
  const Result<std::string> file = SerializeAdapter(model, base);
  EXPECT_TRUE(file.has_value()) << file.error().message();
  const auto [bytes, owner] = Mapped(*file);
  Result<Model> read = ParseAdapter(bytes, owner, base, {.verify_data = true});
  EXPECT_TRUE(read.has_value()) << read.error().message();
  return *std::move(read);
}

Model Whole(const Model& model) {
  const auto [bytes, owner] = Mapped(*SerializeThimble(model));
  return *ParseThimble(bytes, owner);
}

const std::vector<PredictorInput>& Inputs() {
  static const std::vector<PredictorInput> inputs = {
      {.ids = {1, 7, 30, 2}}, {.ids = {3, 8, 9, 41, 5, 6, 2}}, {.ids = {11}}};
  return inputs;
}

std::vector<std::vector<float>> Scores(Predictor& predictor) {
  const auto predictions = predictor.Predict(Inputs());
  EXPECT_TRUE(predictions.has_value()) << predictions.error().message();
  std::vector<std::vector<float>> scores;
  for (const Prediction& p : *predictions) scores.push_back(p.scores);
  return scores;
}

std::vector<std::vector<float>> Scores(const Model& model) {
  Result<Predictor> predictor = Predictor::Create(model, {.threads = 2});
  EXPECT_TRUE(predictor.has_value()) << predictor.error().message();
  return Scores(*predictor);
}

// By the plain references.
std::vector<std::vector<float>> ReferenceScores(const Model& model) {
  std::vector<std::vector<float>> scores;
  for (const PredictorInput& input : Inputs()) {
    const std::array<int32_t, 2> offsets = {0, static_cast<int32_t>(input.ids.size())};
    const std::vector<int32_t> types(input.ids.size(), 0);
    const std::span<const int32_t> inputs[] = {input.ids, types};
    const std::string_view outputs[] = {"logits"};
    scores.push_back(
        Softmax((*RunReference(model.graph, {offsets, {}}, inputs, outputs))[0].floats));
  }
  return scores;
}

double LargestDifference(const std::vector<std::vector<float>>& a,
                         const std::vector<std::vector<float>>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t c = 0; c < a[i].size(); ++c) {
      largest =
          std::max(largest, std::abs(static_cast<double>(a[i][c]) - static_cast<double>(b[i][c])));
    }
  }
  return largest;
}

// Sums of at most 100 terms of size 1 in float32, 40 steps deep; probabilities change less than logits.
constexpr double kTolerance = 40 * 100 / 16777216.0;

class Adapters : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(BaseTypes, Adapters, testing::Values(DType::kF32, DType::kF16, DType::kI8),
                         [](const auto& type) { return std::string(DTypeName(type.param)); });

TEST_P(Adapters, GiveEachItsOwnAnswersOnOneBase) {
  const Model base = Base(GetParam());
  const Model models[] = {Adapted(base, 2, {"query", "value"}, 1), Adapted(base, 5, {"all"}, 2),
                          Adapted(base, 3, {"ffn_*"}, 3)};
  std::vector<Model> read;
  for (const Model& model : models) read.push_back(ThroughItsFile(model, base));
  // All at once, taking turns, and the base between them.
  Result<Predictor> alone = Predictor::Create(base);
  const auto of_base = Scores(*alone);
  std::vector<Predictor> predictors;
  for (const Model& model : read) predictors.push_back(*Predictor::Create(model));
  for (int turn = 0; turn < 2; ++turn) {
    for (size_t i = 0; i < read.size(); ++i) {
      // To the bit what one whole file gives.
      EXPECT_EQ(Scores(predictors[i]), Scores(Whole(models[i]))) << i;
      EXPECT_EQ(Scores(*alone), of_base);
    }
  }
  if (GetParam() == DType::kI8)
    return;  // activations are rounded too, which the references do not do
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_LE(LargestDifference(Scores(predictors[i]), ReferenceScores(models[i])), kTolerance)
        << i;
  }
}

TEST_P(Adapters, ShareTheWeightsOfTheBase) {
  const Model base = Base(GetParam());
  std::set<const std::byte*> of_base;
  size_t base_bytes = 0;
  for (const Node& node : base.graph.nodes) {
    for (const Weight& weight : node.weights) {
      of_base.insert(weight.tensor.data().data());
      base_bytes += weight.tensor.bytes();
    }
  }
  const Model read = ThroughItsFile(Adapted(base, 2, {"query"}, 1), base);
  size_t own_bytes = 0;
  for (const Node& node : read.graph.nodes) {
    for (const Weight& weight : node.weights) {
      const bool own = !of_base.contains(weight.tensor.data().data());
      EXPECT_EQ(own, node.name.find("lora") != std::string::npos || node.name == "classifier")
          << weight.name;
      if (own) own_bytes += weight.tensor.bytes();
    }
  }
  EXPECT_GT(own_bytes, 0u);
  EXPECT_LT(own_bytes, base_bytes);
}

TEST_P(Adapters, MergeToTheSameAnswers) {
  const Model base = Base(GetParam());
  Model model = ThroughItsFile(Adapted(base, 4, {"all"}, 1), base);
  const auto beside = Scores(model);
  Result<Graph> merged = MergeLora(model.graph);
  if (GetParam() == DType::kI8) {
    ASSERT_FALSE(merged.has_value());
    EXPECT_EQ(merged.error().code(), ErrorCode::kUnsupported);
    return;
  }
  ASSERT_TRUE(merged.has_value()) << merged.error().message();
  model.graph = *std::move(merged);
  EXPECT_TRUE(FindLora(model.graph).empty());
  EXPECT_LE(LargestDifference(Scores(model), beside), kTolerance);
  EXPECT_EQ(Scores(Whole(model)), Scores(model));
}

}  // namespace
}  // namespace thimble
