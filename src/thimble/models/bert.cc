// BERT (Devlin et al. 2019), and with it TinyBERT and MiniLM, which differ in sizes only.
#include "thimble/models/builders.h"
#include "thimble/models/config.h"
#include "thimble/models/describe.h"
#include "thimble/models/encoder.h"

namespace thimble {
namespace {

struct BertConfig {
  EmbeddingShape embeddings;
  BlockShape block;
  int64_t layers = 12;
  std::vector<int64_t> kept_heads;  // of each layer
};

Result<BertConfig> ReadBertConfig(const nlohmann::json& json) {
  ConfigReader read(json);
  BertConfig c;
  c.block.hidden = read.Size("hidden_size", 768);
  c.block.heads = read.Size("num_attention_heads", 12);
  c.block.intermediate = read.Size("intermediate_size", 3072);
  c.block.activation = read.Function("hidden_act", "gelu");
  c.block.epsilon = read.Epsilon("layer_norm_eps", 1e-12);
  c.layers = read.Count("num_hidden_layers", 12);
  c.embeddings = {.vocabulary = read.Size("vocab_size", 30522),
                  .positions = read.Size("max_position_embeddings", 512),
                  .types = read.Size("type_vocab_size", 2),
                  .width = c.block.hidden,
                  .epsilon = c.block.epsilon,
                  .position_ids = {}};
  c.kept_heads = read.KeptHeads(c.layers, c.block.heads);
  read.RequireDivides("num_attention_heads", c.block.heads, "hidden_size", c.block.hidden);
  TRY_VOID(read.status());
  return c;
}

ValueId Pooler(Layers& layers, const BertConfig& c, ValueId hidden) {
  ValueId pooled = layers.First("bert.pooler.first", hidden);
  pooled = layers.Linear("bert.pooler.dense", pooled, c.block.hidden);
  pooled = layers.Act("bert.pooler.activation", pooled, Activation::kTanh);
  layers.Output("pooler_output", pooled);
  return pooled;
}

// The decoder is the word embedding transposed, unless the configuration unties them.
ValueId MaskedLmHead(Layers& layers, const BertConfig& c, bool tied, ValueId hidden) {
  const std::string p = "cls.predictions";
  ValueId x = layers.Linear(p + ".transform.dense", hidden, c.block.hidden);
  x = layers.Act(p + ".transform.activation", x, c.block.activation);
  x = layers.LayerNorm(p + ".transform.LayerNorm", x, c.block.epsilon);
  const std::string decoder =
      tied ? "bert.embeddings.word_embeddings.weight" : p + ".decoder.weight";
  const std::string bias = layers.Has(p + ".bias") ? p + ".bias" : p + ".decoder.bias";
  return VocabularyLogits(layers, p + ".decoder", x, decoder, bias, c.embeddings.vocabulary);
}

}  // namespace

Result<Graph> BuildBert(const nlohmann::json& json, const BuildOptions& options,
                        WeightSource& weights) {
  TRY(const BertConfig c, ReadBertConfig(json));
  Layers layers(weights);
  ValueId x = BertEmbeddings(layers, "bert.embeddings", c.embeddings);
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = "bert.encoder.layer." + std::to_string(i);
    BlockShape block = c.block;
    block.kept_heads = c.kept_heads[static_cast<size_t>(i)];
    x = TransformerBlock(layers, BertBlockNames(layer), layer, block, x);
    if (x == kNoValue) break;
  }
  layers.Output("last_hidden_state", x);
  ConfigReader read(json);
  const bool tied = read.Flag("tie_word_embeddings", true);
  TRY_VOID(read.status());
  switch (options.task) {
    case Task::kFeatures:
      if (layers.Has("bert.pooler.dense.weight")) Pooler(layers, c, x);
      break;
    case Task::kSingleLabel:
    case Task::kMultiLabel:
    case Task::kRegression:
      ClassifierHead(layers, "classifier", options, Pooler(layers, c, x));
      break;
    case Task::kMaskedLm:
      layers.Output("logits", MaskedLmHead(layers, c, tied, x));
      break;
    case Task::kPretraining:
      layers.Output("logits", MaskedLmHead(layers, c, tied, x));
      layers.Output("seq_relationship_logits",
                    layers.Linear("cls.seq_relationship", Pooler(layers, c, x), 2));
      break;
    default:
      TokenHead(layers, options.task, options, x);
  }
  return std::move(layers).Finish(c.embeddings.positions);
}

Result<nlohmann::json> DescribeBert(const Graph& graph) {
  return DescribeEncoder(Description(graph), "bert", "cls.predictions.decoder");
}

}  // namespace thimble
