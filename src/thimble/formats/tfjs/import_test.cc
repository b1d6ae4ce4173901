#include "thimble/formats/tfjs/import.h"

#include <gmock/gmock.h>

#include <cmath>

#include "thimble/formats/tfjs/tiny_encoder.h"

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Result<Model> Import(const TinyEncoder& encoder) {
  auto bytes = std::make_shared<const std::string>(encoder.weights_bin());
  TRY(TfjsModel weights,
      TfjsModel::Parse(encoder.model_json(), [&](const std::string&) -> Result<TfjsModel::File> {
        return TfjsModel::File{std::as_bytes(std::span(*bytes)), bytes};
      }));
  return ImportTfjs(weights, encoder.vocab_json());
}

std::string ErrorOfImport(const TinyEncoder& encoder) {
  const Result<Model> model = Import(encoder);
  return model.has_value() ? "no error" : model.error().message();
}

TEST(ImportTfjs, ComputesWhatThePublishedGraphComputes) {
  const TinyEncoder encoder;
  const Result<Model> model = Import(encoder);
  ASSERT_TRUE(model.has_value()) << model.error().message();
  for (const std::vector<int>& ids :
       {std::vector<int>{7}, std::vector<int>{1, 11, 0}, std::vector<int>{3, 3, 9, 2, 8}}) {
    const std::vector<int32_t> input(ids.begin(), ids.end());
    const int32_t offsets[] = {0, static_cast<int32_t>(ids.size())};
    const std::span<const int32_t> inputs[] = {input};
    const std::string_view outputs[] = {"pooler_output"};
    const auto got = RunReference(model->graph, {offsets, {}}, inputs, outputs);
    ASSERT_TRUE(got.has_value()) << got.error().message();
    const std::vector<double> expected = encoder.Embed(ids);
    ASSERT_EQ((*got)[0].floats.size(), expected.size());
    // About 40 roundings to float32 between ids and embedding, values of order 1.
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR((*got)[0].floats[i], expected[i], 40 * std::ldexp(1.0, -24)) << i;
    }
  }
}

TEST(ImportTfjs, FillsInTheModel) {
  const Result<Model> model = Import(TinyEncoder());
  ASSERT_TRUE(model.has_value()) << model.error().message();
  EXPECT_EQ(model->architecture, "universal_sentence_encoder");
  EXPECT_EQ(model->task, Task::kFeatures);
  EXPECT_EQ(model->graph.max_sequence_length, TinyEncoder::kPositions);
  EXPECT_EQ(model->tokenizer.kind, TokenizerKind::kUnigram);
  EXPECT_EQ(model->tokenizer.model_max_length, TinyEncoder::kPositions);
  EXPECT_EQ(model->tokenizer.reserved_ids, 6);
  EXPECT_EQ(model->tokenizer.pieces[8], "▁a");
  EXPECT_THAT(model->tokenizer.scores, ElementsAre(0, 0, 0, 0, 0, 0, -3, -2, -2.5, 0));
}

TEST(ImportTfjs, RefusesGraphsThatComputeSomethingElse) {
  TinyEncoder gelu;
  for (TinyEncoder::Node& node : gelu.nodes) {
    if (node.op == "Relu") node.op = "Erf";
  }
  EXPECT_THAT(ErrorOfImport(gelu), HasSubstr("has 2 Relu operations, this graph has 0"));

  TinyEncoder scaled;
  scaled.weights["scale_1"].values = {0.25f};
  EXPECT_THAT(ErrorOfImport(scaled), HasSubstr("scaled by 0.25"));

  TinyEncoder heads;
  heads.weights["heads"].values = {0};
  EXPECT_THAT(ErrorOfImport(heads), HasSubstr("is not a size up to 1024"));

  TinyEncoder endless;
  endless.weights["positions"].values = {1e6f};
  EXPECT_THAT(ErrorOfImport(endless), HasSubstr("is not a size up to 4096"));

  TinyEncoder other;
  other.weights.erase("module/Embeddings_en");
  EXPECT_THAT(ErrorOfImport(other), HasSubstr("is not known here"));

  TinyEncoder bare;
  bare.nodes.clear();
  EXPECT_THAT(ErrorOfImport(bare), HasSubstr("\"modelTopology\""));
}

TEST(ImportTfjs, RefusesWeightsThatDoNotFit) {
  TinyEncoder missing;
  missing.weights.erase("module/Encoder_en/hidden_layers/tanh_layer_0/bias");
  EXPECT_THAT(ErrorOfImport(missing), HasSubstr("tanh_layer_0/bias"));

  TinyEncoder bent;
  bent.weights["module/Encoder_en/hidden_layers/tanh_layer_0/weights"].shape = {4, 16};
  EXPECT_THAT(ErrorOfImport(bent), HasSubstr("\"pooler.dense.weight\" the shape [16, 4]"));
}

TEST(UnigramVocabulary, RefusesOtherForms) {
  const auto message = [](std::string_view json) {
    return ParseUnigramVocabulary(json).error().message();
  };
  EXPECT_THAT(message("{}"), HasSubstr("not a JSON list"));
  EXPECT_THAT(message("[[\"a\", 1], [\"b\"]]"), HasSubstr("entry 1"));
  EXPECT_THAT(message("[[\"a\", \"1\"]]"), HasSubstr("entry 0"));
}

}  // namespace
}  // namespace thimble
