// What every architecture has in common: sizes, heads, and answers to configurations that are
// wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "thimble/models/architecture.h"
#include "thimble/models/testing.h"

namespace thimble {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

// --- Published sizes

struct Size {
  const char* name;
  json config;
  int64_t parameters;
  double macs;  // of one sequence of 128 tokens; 0: not published
};

const json kMobileBert = {{"model_type", "mobilebert"}, {"classifier_activation", false}};

std::vector<Size> Sizes() {
  json tiny = kMobileBert;
  tiny.update({{"num_feedforward_networks", 2},
               {"use_bottleneck_attention", true},
               {"key_query_shared_bottleneck", false}});
  json two_blocks = kMobileBert;
  two_blocks["num_hidden_layers"] = 2;
  return {
      {"MobileBERT", kMobileBert, 24581888, 2692743168},
      {"MobileBERT-tiny", tiny, 15485696, 1535115264},
      {"MobileBERT with two blocks", two_blocks, 6052608, 0},
      {"BERT-base", {{"model_type", "bert"}}, 109482240, 0},
      {"BERT-large",
       {{"model_type", "bert"},
        {"hidden_size", 1024},
        {"num_hidden_layers", 24},
        {"num_attention_heads", 16},
        {"intermediate_size", 4096}},
       335141888,
       0},
      {"TinyBERT-4",
       {{"model_type", "bert"},
        {"hidden_size", 312},
        {"num_hidden_layers", 4},
        {"intermediate_size", 1200}},
       14350248,
       0},
      {"MiniLM-L6-H384",
       {{"model_type", "bert"},
        {"hidden_size", 384},
        {"num_hidden_layers", 6},
        {"intermediate_size", 1536}},
       22713216,
       0},
      {"DistilBERT", {{"model_type", "distilbert"}}, 66362880, 0},
      {"RoBERTa-base",
       {{"model_type", "roberta"}, {"max_position_embeddings", 514}, {"type_vocab_size", 1}},
       124645632,
       0},
      {"ALBERT-base",
       {{"model_type", "albert"},
        {"hidden_size", 768},
        {"num_attention_heads", 12},
        {"intermediate_size", 3072}},
       11683584,
       0},
  };
}

TEST(Architectures, HaveThePublishedNumberOfParametersAndProducts) {
  for (const Size& size : Sizes()) {
    SCOPED_TRACE(size.name);
    ZeroWeights weights;
    const Result<Graph> graph = BuildGraph(size.config, {}, weights);
    ASSERT_TRUE(graph.has_value()) << graph.error().message();
    const GraphCost cost = ComputeCost(*graph, {.tokens = 128, .sequences = 1});
    EXPECT_EQ(cost.parameters, size.parameters);
    if (size.macs > 0) {
      EXPECT_EQ(cost.total.macs, size.macs);
    }
  }
}

// BERT-base by hand: 12 blocks of four 768 x 768 products, two of 768 x 3072, and scores and sums
// over 128 keys; plus the pooler, once per sequence.
TEST(Architectures, CountProductsAsOneDoesByHand) {
  ZeroWeights weights;
  const Result<Graph> graph = BuildGraph({{"model_type", "bert"}}, {}, weights);
  const double block = 128.0 * (4 * 768 * 768 + 2 * 768 * 3072) + 2.0 * 128 * 128 * 768;
  EXPECT_EQ(ComputeCost(*graph, {.tokens = 128, .sequences = 1}).total.macs,
            12 * block + 768 * 768);
}

// --- Heads

json Small(const std::string& type) {
  json config = {
      {"model_type", type},           {"vocab_size", 11},         {"hidden_size", 8},
      {"num_hidden_layers", 2},       {"num_attention_heads", 2}, {"intermediate_size", 6},
      {"max_position_embeddings", 9}, {"embedding_size", 4},      {"intra_bottleneck_size", 4}};
  if (type == "distilbert") {
    config.update({{"dim", 8}, {"n_layers", 2}, {"n_heads", 2}, {"hidden_dim", 6}});
  }
  return config;
}

const std::vector<std::string> kTypes = {"bert", "distilbert", "mobilebert", "roberta", "albert"};

// Width and rows of every output.
std::vector<std::pair<std::string, std::string>> Outputs(const Graph& graph) {
  std::vector<std::pair<std::string, std::string>> outputs;
  for (const GraphOutput& output : graph.outputs) {
    const ValueType& type = graph.value(output.value).type;
    outputs.emplace_back(output.name, (type.rows == Rows::kTokens ? "tokens x " : "sequences x ") +
                                          std::to_string(type.width));
  }
  return outputs;
}

Result<Graph> BuildSmall(const std::string& type, Task task, std::optional<int64_t> labels = 3) {
  ZeroWeights weights;
  return BuildGraph(Small(type), {.task = task, .labels = labels}, weights);
}

TEST(Heads, OfSequencesGiveOneRowEach) {
  const auto hidden = Pair("last_hidden_state", "tokens x 8");
  const auto pooled = Pair("pooler_output", "sequences x 8");
  const auto logits = Pair("logits", "sequences x 3");
  for (const Task task : {Task::kSingleLabel, Task::kMultiLabel, Task::kRegression}) {
    for (const std::string type : {"bert", "mobilebert", "albert"}) {
      EXPECT_THAT(Outputs(*BuildSmall(type, task)), UnorderedElementsAre(hidden, pooled, logits));
    }
    for (const std::string type : {"distilbert", "roberta"}) {
      EXPECT_THAT(Outputs(*BuildSmall(type, task)), UnorderedElementsAre(hidden, logits));
    }
  }
}

TEST(Heads, OfTokensGiveOneRowPerToken) {
  for (const std::string& type : kTypes) {
    SCOPED_TRACE(type);
    const auto hidden = Pair("last_hidden_state", "tokens x 8");
    EXPECT_THAT(Outputs(*BuildSmall(type, Task::kTokenLabels)),
                UnorderedElementsAre(hidden, Pair("logits", "tokens x 3")));
    EXPECT_THAT(Outputs(*BuildSmall(type, Task::kAnswers)),
                UnorderedElementsAre(hidden, Pair("logits", "tokens x 2")));
    EXPECT_THAT(Outputs(*BuildSmall(type, Task::kMaskedLm)),
                UnorderedElementsAre(hidden, Pair("logits", "tokens x 11")));
  }
}

TEST(Heads, OfPretrainingPredictWordsAndTheRelationOfSentences) {
  for (const std::string& type : kTypes) {
    SCOPED_TRACE(type);
    const Result<Graph> graph = BuildSmall(type, Task::kPretraining);
    if (type == "distilbert" || type == "roberta") {
      ASSERT_FALSE(graph.has_value());
      EXPECT_EQ(graph.error().message(), "the architecture has no head for the task pretraining");
      continue;
    }
    ASSERT_TRUE(graph.has_value()) << graph.error().message();
    EXPECT_THAT(
        Outputs(*graph),
        UnorderedElementsAre(Pair("last_hidden_state", "tokens x 8"),
                             Pair("pooler_output", "sequences x 8"), Pair("logits", "tokens x 11"),
                             Pair("seq_relationship_logits", "sequences x 2")));
  }
}

TEST(Heads, TakeTheNumberOfLabelsFromTheCheckpoint) {
  for (const std::string& type : kTypes) {
    const Result<Graph> graph = BuildSmall(type, Task::kSingleLabel, std::nullopt);
    ASSERT_TRUE(graph.has_value()) << graph.error().message();
    EXPECT_EQ(graph->value(graph->FindOutput("logits")->value).type.width, 2) << type;
  }
}

TEST(Features, HaveAPooledOutputWhereTheCheckpointHasAPooler) {
  const std::pair<std::string, std::string> poolers[] = {
      {"bert", "bert.pooler.dense.weight"},
      {"mobilebert", "mobilebert.pooler.dense.weight"},
      {"roberta", "roberta.pooler.dense.weight"},
      {"albert", "albert.pooler.weight"}};
  for (const auto& [type, pooler] : poolers) {
    SCOPED_TRACE(type);
    ZeroWeights weights;
    EXPECT_NE(BuildGraph(Small(type), {}, weights)->FindOutput("pooler_output"), nullptr);
    ZeroWeights without;
    without.Remove(pooler);
    EXPECT_EQ(BuildGraph(Small(type), {}, without)->FindOutput("pooler_output"), nullptr);
  }
  EXPECT_EQ(BuildSmall("distilbert", Task::kFeatures)->FindOutput("pooler_output"), nullptr);
}

TEST(MaskedLm, SharesTheEmbeddingWithTheDecoderUnlessTold) {
  for (const std::string type : {"bert", "distilbert", "roberta", "albert"}) {
    SCOPED_TRACE(type);
    for (const bool tied : {true, false}) {
      json config = Small(type);
      if (!tied) config["tie_word_embeddings"] = false;
      ZeroWeights weights;
      const Result<Graph> graph =
          BuildGraph(config, {.task = Task::kMaskedLm, .labels = std::nullopt}, weights);
      ASSERT_TRUE(graph.has_value()) << graph.error().message();
      const ValueId logits = graph->FindOutput("logits")->value;
      const auto decoder = std::find_if(graph->nodes.begin(), graph->nodes.end(),
                                        [&](const Node& n) { return n.output == logits; });
      const Node* words = graph->FindNode(type + ".embeddings.word_embeddings");
      EXPECT_EQ(decoder->weights[0].tensor.SameAs(words->weights[0].tensor), tied);
    }
  }
}

TEST(Albert, SharesWeightsInsideItsGroups) {
  json config = Small("albert");
  config.update({{"num_hidden_layers", 6}, {"num_hidden_groups", 3}, {"inner_group_num", 2}});
  ZeroWeights weights;
  const Result<Graph> graph = BuildGraph(config, {}, weights);
  ASSERT_TRUE(graph.has_value()) << graph.error().message();
  std::vector<std::string> used, want;
  for (const Node& node : graph->nodes) {
    if (node.name.ends_with(".intermediate")) used.push_back(node.weights[0].name);
  }
  for (const char* layer :
       {"0.albert_layers.0", "0.albert_layers.1", "0.albert_layers.0", "0.albert_layers.1",
        "1.albert_layers.0", "1.albert_layers.1", "1.albert_layers.0", "1.albert_layers.1",
        "2.albert_layers.0", "2.albert_layers.1", "2.albert_layers.0", "2.albert_layers.1"}) {
    want.push_back("albert.encoder.albert_layer_groups." + std::string(layer) + ".ffn.weight");
  }
  EXPECT_EQ(used, want);
}

// The original divides twice in floating point: 9 / (18 / 14) is 6.999..., so layer 9 is in
// group 6.
TEST(Albert, RoundsTheGroupOfALayerAsTheOriginalDoes) {
  json config = Small("albert");
  config.update({{"num_hidden_layers", 18}, {"num_hidden_groups", 14}});
  ZeroWeights weights;
  const Result<Graph> graph = BuildGraph(config, {}, weights);
  ASSERT_TRUE(graph.has_value()) << graph.error().message();
  EXPECT_THAT(graph->FindNode("albert.encoder.layer.9.0.query")->weights[0].name,
              HasSubstr("albert_layer_groups.6."));
}

TEST(Roberta, LeavesRoomForItsPaddingInThePositions) {
  EXPECT_EQ(BuildSmall("roberta", Task::kFeatures)->max_sequence_length, 9 - 2);
  EXPECT_EQ(BuildSmall("bert", Task::kFeatures)->max_sequence_length, 9);
}

// --- Configurations that are wrong

struct Wrong {
  const char* type;
  json change;
  const char* message;
};

const Wrong kWrong[] = {
    {"bert", {{"model_type", "gpt2"}}, "\"model_type\" is \"gpt2\"; known are bert"},
    {"bert", {{"model_type", nullptr}}, "there is no \"model_type\"; known are bert"},
    {"bert", {{"model_type", 3}}, "\"model_type\" is 3, must be a text"},
    {"bert",
     {{"hidden_size", 10}, {"num_attention_heads", 3}},
     "\"hidden_size\" 10 does not divide by \"num_attention_heads\" 3"},
    {"bert", {{"hidden_size", 0}}, "\"hidden_size\" is 0, must be an integer from 1"},
    {"bert", {{"hidden_size", -8}}, "\"hidden_size\" is -8, must be an integer from 1"},
    {"bert", {{"hidden_size", 8.5}}, "\"hidden_size\" is 8.5, must be an integer"},
    {"bert", {{"hidden_size", "8"}}, "\"hidden_size\" is \"8\", must be an integer"},
    {"bert", {{"hidden_size", {8}}}, "\"hidden_size\" is [8], must be an integer"},
    {"bert", {{"vocab_size", 18446744073709551615u}}, "\"vocab_size\" is 18446744073709551615"},
    {"bert", {{"num_hidden_layers", 1000000000000}}, "\"num_hidden_layers\" is 1000000000000"},
    {"bert", {{"num_hidden_layers", 100000}}, "\"num_hidden_layers\" is 100000"},
    {"bert", {{"layer_norm_eps", -1}}, "\"layer_norm_eps\" is -1"},
    {"bert", {{"layer_norm_eps", "1e-12"}}, "\"layer_norm_eps\" is \"1e-12\""},
    {"bert", {{"hidden_act", "swiglu"}}, "\"hidden_act\" is \"swiglu\""},
    {"bert", {{"position_embedding_type", "relative_key"}}, "\"position_embedding_type\" is"},
    {"bert", {{"is_decoder", true}}, "\"is_decoder\" is true, which is not handled"},
    {"albert", {{"is_decoder", true}}, "\"is_decoder\" is true, which is not handled"},
    {"roberta", {{"add_cross_attention", true}}, "\"add_cross_attention\" is true"},
    {"distilbert", {{"n_heads", 3}}, "\"dim\" 8 does not divide by \"n_heads\" 3"},
    {"distilbert", {{"n_layers", -1}}, "\"n_layers\" is -1"},
    {"distilbert", {{"activation", 7}}, "\"activation\" is 7, must be a text"},
    {"mobilebert", {{"num_attention_heads", 3}}, "\"intra_bottleneck_size\" 4 does not divide by"},
    {"mobilebert",
     {{"use_bottleneck", false}, {"num_attention_heads", 3}},
     "\"hidden_size\" 8 does not divide by"},
    {"mobilebert", {{"use_bottleneck", 1}}, "\"use_bottleneck\" is 1, must be true or false"},
    {"mobilebert", {{"normalization_type", "batch"}}, "\"normalization_type\" is \"batch\""},
    {"mobilebert", {{"num_feedforward_networks", 0}}, "\"num_feedforward_networks\" is 0"},
    {"mobilebert",
     {{"num_feedforward_networks", 100000}},
     "\"num_feedforward_networks\" is 100000"},
    {"mobilebert", {{"key_query_shared_bottleneck", false}}, "\"key_query_shared_bottleneck\""},
    {"roberta", {{"pad_token_id", -1}}, "\"pad_token_id\" is -1"},
    {"roberta", {{"pad_token_id", 8}}, "\"max_position_embeddings\" 9 leaves no position"},
    {"albert", {{"num_hidden_groups", 3}}, "\"num_hidden_groups\" 3 is more than"},
    {"albert",
     {{"num_hidden_layers", 1000}, {"inner_group_num", 1000}},
     "\"inner_group_num\" 1000"},
};

TEST(Configuration, NamesTheKeyThatIsWrong) {
  for (const Wrong& wrong : kWrong) {
    json config = Small(wrong.type);
    config.update(wrong.change);
    ZeroWeights weights;
    const Result<Graph> graph = BuildGraph(config, {}, weights);
    ASSERT_FALSE(graph.has_value()) << wrong.message;
    EXPECT_THAT(graph.error().message(), HasSubstr(wrong.message));
    EXPECT_TRUE(weights.asked().empty()) << "weights were read before the sizes were checked";
  }
}

TEST(Configuration, HasToBeAnObject) {
  for (const json& config : {json::array(), json(3), json(nullptr), json("bert")}) {
    ZeroWeights weights;
    const Result<Graph> graph = BuildGraph(config, {}, weights);
    ASSERT_FALSE(graph.has_value());
    EXPECT_EQ(graph.error().message(), "is not a JSON object");
  }
}

// Every weight that is taken away is missed by its name.
TEST(Weights, ThatAreMissingAreNamed) {
  for (const std::string& type : kTypes) {
    ZeroWeights all;
    const BuildOptions options{.task = Task::kSingleLabel, .labels = 3};
    ASSERT_TRUE(BuildGraph(Small(type), options, all).has_value()) << type;
    for (const auto& [name, tensor] : all.asked()) {
      ZeroWeights weights;
      weights.Remove(name);
      const Result<Graph> graph = BuildGraph(Small(type), options, weights);
      ASSERT_FALSE(graph.has_value()) << name;
      EXPECT_EQ(graph.error().message(), "there is no " + name);
    }
  }
}

}  // namespace
}  // namespace thimble
