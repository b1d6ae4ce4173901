// ALBERT (Lan et al. 2020): narrow embeddings, and layers that share the weights of their group.
#include <algorithm>

#include "thimble/models/builders.h"
#include "thimble/models/config.h"
#include "thimble/models/describe.h"
#include "thimble/models/encoder.h"

namespace thimble {
namespace {

struct AlbertConfig {
  EmbeddingShape embeddings;
  BlockShape block;
  int64_t layers = 12, groups = 1, inner_layers = 1;
  bool tied = true;
  std::vector<int64_t> kept_heads;  // of each inner layer of each group
};

Result<AlbertConfig> ReadAlbertConfig(const nlohmann::json& json) {
  ConfigReader read(json);
  AlbertConfig c;
  c.block = {.heads = read.Size("num_attention_heads", 64),
             .kept_heads = 0,
             .hidden = read.Size("hidden_size", 4096),
             .intermediate = read.Size("intermediate_size", 16384),
             .activation = read.Function("hidden_act", "gelu_new"),
             .epsilon = read.Epsilon("layer_norm_eps", 1e-12)};
  c.embeddings = {.vocabulary = read.Size("vocab_size", 30000),
                  .positions = read.Size("max_position_embeddings", 512),
                  .types = read.Size("type_vocab_size", 2),
                  .width = read.Size("embedding_size", 128),
                  .epsilon = c.block.epsilon,
                  .position_ids = {}};
  c.layers = read.Count("num_hidden_layers", 12);
  c.groups = read.Count("num_hidden_groups", 1);
  c.inner_layers = read.Count("inner_group_num", 1);
  c.tied = read.Flag("tie_word_embeddings", true);
  read.RequireDivides("num_attention_heads", c.block.heads, "hidden_size", c.block.hidden);
  if (c.groups > c.layers) {
    read.Fail(InvalidData("\"num_hidden_groups\" " + std::to_string(c.groups) +
                          " is more than \"num_hidden_layers\" " + std::to_string(c.layers)));
  }
  if (c.layers * c.inner_layers > kMostLayers) {
    read.Fail(InvalidData("\"num_hidden_layers\" " + std::to_string(c.layers) +
                          " times \"inner_group_num\" " + std::to_string(c.inner_layers) +
                          " is more than " + std::to_string(kMostLayers) + " layers"));
  }
  TRY_VOID(read.status());
  c.kept_heads = read.KeptHeads(c.groups * c.inner_layers, c.block.heads);
  TRY_VOID(read.status());
  return c;
}

BlockNames AlbertBlockNames(const std::string& layer) {
  return {.query = layer + ".attention.query",
          .key = layer + ".attention.key",
          .value = layer + ".attention.value",
          .attention_out = layer + ".attention.dense",
          .attention_norm = layer + ".attention.LayerNorm",
          .ffn_in = layer + ".ffn",
          .ffn_out = layer + ".ffn_output",
          .ffn_norm = layer + ".full_layer_layer_norm"};
}

ValueId Pooler(Layers& layers, const AlbertConfig& c, ValueId x) {
  ValueId pooled = layers.First("albert.pooler.first", x);
  pooled = layers.Linear("albert.pooler", pooled, c.block.hidden);
  pooled = layers.Act("albert.pooler.activation", pooled, Activation::kTanh);
  layers.Output("pooler_output", pooled);
  return pooled;
}

// Twice rounded, as the original computes it: layer 9 of 18 in 14 groups is in group 6, not 7.
int64_t GroupOf(int64_t layer, const AlbertConfig& c) {
  const double per_group = static_cast<double>(c.layers) / static_cast<double>(c.groups);
  return static_cast<int64_t>(static_cast<double>(layer) / per_group);
}

void MaskedLmHead(Layers& layers, const AlbertConfig& c, ValueId x) {
  const std::string p = "predictions";
  ValueId y = layers.Linear(p + ".dense", x, c.embeddings.width);
  y = layers.Act(p + ".activation", y, c.block.activation);
  y = layers.LayerNorm(p + ".LayerNorm", y, c.block.epsilon);
  const std::string decoder =
      c.tied ? "albert.embeddings.word_embeddings.weight" : p + ".decoder.weight";
  layers.Output("logits", VocabularyLogits(layers, p + ".decoder", y, decoder, p + ".bias",
                                           c.embeddings.vocabulary));
}

}  // namespace

Result<Graph> BuildAlbert(const nlohmann::json& json, const BuildOptions& options,
                          WeightSource& weights) {
  TRY(const AlbertConfig c, ReadAlbertConfig(json));
  Layers layers(weights);
  ValueId x = BertEmbeddings(layers, "albert.embeddings", c.embeddings);
  x = layers.Linear("albert.encoder.embedding_hidden_mapping_in", x, c.block.hidden);
  for (int64_t i = 0; i < c.layers && x != kNoValue; ++i) {
    const int64_t group = GroupOf(i, c);
    for (int64_t inner = 0; inner < c.inner_layers && x != kNoValue; ++inner) {
      const std::string weights_at = "albert.encoder.albert_layer_groups." + std::to_string(group) +
                                     ".albert_layers." + std::to_string(inner);
      const std::string place =
          "albert.encoder.layer." + std::to_string(i) + "." + std::to_string(inner);
      BlockShape block = c.block;
      block.kept_heads = c.kept_heads[static_cast<size_t>(group * c.inner_layers + inner)];
      x = TransformerBlock(layers, AlbertBlockNames(weights_at), place, block, x);
    }
  }
  layers.Output("last_hidden_state", x);
  switch (options.task) {
    case Task::kFeatures:
      if (layers.Has("albert.pooler.weight")) Pooler(layers, c, x);
      break;
    case Task::kSingleLabel:
    case Task::kMultiLabel:
    case Task::kRegression:
      ClassifierHead(layers, "classifier", options, Pooler(layers, c, x));
      break;
    case Task::kMaskedLm:
      MaskedLmHead(layers, c, x);
      break;
    case Task::kPretraining:  // the order of two sentences instead of their relation
      MaskedLmHead(layers, c, x);
      layers.Output("seq_relationship_logits",
                    layers.Linear("sop_classifier.classifier", Pooler(layers, c, x), 2));
      break;
    default:
      TokenHead(layers, options.task, options, x);
  }
  return std::move(layers).Finish(c.embeddings.positions);
}

Result<nlohmann::json> DescribeAlbert(const Graph& graph) {
  const Description d(graph);
  nlohmann::json config = DescribeEncoder(d, "albert", "predictions.decoder");
  const std::string mapping = "albert.encoder.embedding_hidden_mapping_in";
  const int64_t hidden = d.Rows(mapping), layers = d.CountAfter(".encoder.layer.");
  config["hidden_size"] = hidden;
  config["num_attention_heads"] = d.Heads(hidden);
  config["embedding_size"] = d.Columns(mapping);
  // Layers by their nodes, groups by the names of the weights that they share.
  int64_t groups = 1, inner = 1;
  for (const Node& node : graph.nodes) {
    for (const Weight& weight : node.weights) {
      groups = std::max(groups, NumberAfter(weight.name, ".albert_layer_groups.") + 1);
      inner = std::max(inner, NumberAfter(weight.name, ".albert_layers.") + 1);
    }
  }
  config["num_hidden_groups"] = std::min(groups, layers);
  config["inner_group_num"] = inner;
  return config;
}

}  // namespace thimble
