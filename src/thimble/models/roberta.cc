// RoBERTa (Liu et al. 2019): BERT's blocks; positions count from pad_token_id + 1 and skip padding.
#include "thimble/models/builders.h"
#include "thimble/models/config.h"
#include "thimble/models/describe.h"
#include "thimble/models/encoder.h"

namespace thimble {
namespace {

void Heads(Layers& layers, const BlockShape& block, int64_t vocabulary, bool tied,
           const BuildOptions& options, ValueId x) {
  switch (options.task) {
    case Task::kFeatures:
      if (layers.Has("roberta.pooler.dense.weight")) {
        ValueId pooled = layers.First("roberta.pooler.first", x);
        pooled = layers.Linear("roberta.pooler.dense", pooled, block.hidden);
        layers.Output("pooler_output",
                      layers.Act("roberta.pooler.activation", pooled, Activation::kTanh));
      }
      break;
    case Task::kSingleLabel:
    case Task::kMultiLabel:
    case Task::kRegression: {
      ValueId y = layers.First("classifier.first", x);
      y = layers.Linear("classifier.dense", y, block.hidden);
      y = layers.Act("classifier.activation", y, Activation::kTanh);
      ClassifierHead(layers, "classifier.out_proj", options, y);
      break;
    }
    case Task::kMaskedLm: {
      ValueId y = layers.Linear("lm_head.dense", x, block.hidden);
      y = layers.Act("lm_head.activation", y, Activation::kGelu);
      y = layers.LayerNorm("lm_head.layer_norm", y, block.epsilon);
      const std::string decoder =
          tied ? "roberta.embeddings.word_embeddings.weight" : "lm_head.decoder.weight";
      layers.Output("logits", VocabularyLogits(layers, "lm_head.decoder", y, decoder,
                                               "lm_head.bias", vocabulary));
      break;
    }
    default:
      TokenHead(layers, options.task, options, x);
  }
}

}  // namespace

Result<Graph> BuildRoberta(const nlohmann::json& json, const BuildOptions& options,
                           WeightSource& weights) {
  ConfigReader read(json);
  BlockShape block{.heads = read.Size("num_attention_heads", 12),
                   .kept_heads = 0,
                   .hidden = read.Size("hidden_size", 768),
                   .intermediate = read.Size("intermediate_size", 3072),
                   .activation = read.Function("hidden_act", "gelu"),
                   .epsilon = read.Epsilon("layer_norm_eps", 1e-12)};
  const int64_t padding = read.Integer("pad_token_id", 1, 0, 1 << 20);
  const int64_t positions = read.Size("max_position_embeddings", 512);
  const EmbeddingShape embeddings{.vocabulary = read.Size("vocab_size", 50265),
                                  .positions = positions,
                                  .types = read.Size("type_vocab_size", 2),
                                  .width = block.hidden,
                                  .epsilon = block.epsilon,
                                  .position_ids = {.offset = padding + 1, .skip_id = padding}};
  const int64_t depth = read.Count("num_hidden_layers", 12);
  const bool tied = read.Flag("tie_word_embeddings", true);
  const std::vector<int64_t> kept_heads = read.KeptHeads(depth, block.heads);
  read.RequireDivides("num_attention_heads", block.heads, "hidden_size", block.hidden);
  if (positions <= padding + 1) {
    read.Fail(InvalidData("\"max_position_embeddings\" " + std::to_string(positions) +
                          " leaves no position after \"pad_token_id\" " + std::to_string(padding)));
  }
  TRY_VOID(read.status());

  Layers layers(weights);
  ValueId x = BertEmbeddings(layers, "roberta.embeddings", embeddings);
  for (int64_t i = 0; i < depth && x != kNoValue; ++i) {
    const std::string layer = "roberta.encoder.layer." + std::to_string(i);
    block.kept_heads = kept_heads[static_cast<size_t>(i)];
    x = TransformerBlock(layers, BertBlockNames(layer), layer, block, x);
  }
  layers.Output("last_hidden_state", x);
  Heads(layers, block, embeddings.vocabulary, tied, options, x);
  return std::move(layers).Finish(positions - padding - 1);
}

Result<nlohmann::json> DescribeRoberta(const Graph& graph) {
  const Description d(graph);
  nlohmann::json config = DescribeEncoder(d, "roberta", "lm_head.decoder");
  const Node* positions = d.Find("position_ids");
  if (positions != nullptr)
    config["pad_token_id"] = std::get<PositionIdsAttrs>(positions->attrs).offset - 1;
  return config;
}

}  // namespace thimble
