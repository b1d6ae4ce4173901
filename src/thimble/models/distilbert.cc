// DistilBERT (Sanh et al. 2019): BERT's blocks without token types and pooler.
#include "thimble/models/builders.h"
#include "thimble/models/config.h"
#include "thimble/models/describe.h"
#include "thimble/models/encoder.h"

namespace thimble {
namespace {

constexpr double kEpsilon = 1e-12;  // whatever the configuration says

BlockNames DistilBertBlockNames(const std::string& layer) {
  return {.query = layer + ".attention.q_lin",
          .key = layer + ".attention.k_lin",
          .value = layer + ".attention.v_lin",
          .attention_out = layer + ".attention.out_lin",
          .attention_norm = layer + ".sa_layer_norm",
          .ffn_in = layer + ".ffn.lin1",
          .ffn_out = layer + ".ffn.lin2",
          .ffn_norm = layer + ".output_layer_norm"};
}

void Heads(Layers& layers, const BlockShape& block, int64_t vocabulary, bool tied,
           const BuildOptions& options, ValueId x) {
  switch (options.task) {
    case Task::kFeatures:
      break;
    case Task::kSingleLabel:
    case Task::kMultiLabel:
    case Task::kRegression: {
      ValueId pooled = layers.First("first_token", x);
      pooled = layers.Linear("pre_classifier", pooled, block.hidden);
      pooled = layers.Act("pre_classifier.activation", pooled, Activation::kRelu);
      ClassifierHead(layers, "classifier", options, pooled);
      break;
    }
    case Task::kMaskedLm: {
      ValueId y = layers.Linear("vocab_transform", x, block.hidden);
      y = layers.Act("vocab_transform.activation", y, block.activation);
      y = layers.LayerNorm("vocab_layer_norm", y, kEpsilon);
      const std::string decoder =
          tied ? "distilbert.embeddings.word_embeddings.weight" : "vocab_projector.weight";
      layers.Output("logits", VocabularyLogits(layers, "vocab_projector", y, decoder,
                                               "vocab_projector.bias", vocabulary));
      break;
    }
    default:
      TokenHead(layers, options.task, options, x);
  }
}

}  // namespace

Result<Graph> BuildDistilBert(const nlohmann::json& json, const BuildOptions& options,
                              WeightSource& weights) {
  ConfigReader read(json);
  BlockShape block{.heads = read.Size("n_heads", 12),
                   .kept_heads = 0,
                   .hidden = read.Size("dim", 768),
                   .intermediate = read.Size("hidden_dim", 3072),
                   .activation = read.Function("activation", "gelu"),
                   .epsilon = kEpsilon};
  const EmbeddingShape embeddings{.vocabulary = read.Size("vocab_size", 30522),
                                  .positions = read.Size("max_position_embeddings", 512),
                                  .types = 0,
                                  .width = block.hidden,
                                  .epsilon = kEpsilon,
                                  .position_ids = {}};
  const int64_t depth = read.Count("n_layers", 6);
  const bool tied = read.Flag("tie_word_embeddings", true);
  const std::vector<int64_t> kept_heads = read.KeptHeads(depth, block.heads);
  read.RequireDivides("n_heads", block.heads, "dim", block.hidden);
  TRY_VOID(read.status());

  Layers layers(weights);
  ValueId x = BertEmbeddings(layers, "distilbert.embeddings", embeddings);
  for (int64_t i = 0; i < depth && x != kNoValue; ++i) {
    const std::string layer = "distilbert.transformer.layer." + std::to_string(i);
    block.kept_heads = kept_heads[static_cast<size_t>(i)];
    x = TransformerBlock(layers, DistilBertBlockNames(layer), layer, block, x);
  }
  layers.Output("last_hidden_state", x);
  Heads(layers, block, embeddings.vocabulary, tied, options, x);
  return std::move(layers).Finish(embeddings.positions);
}

Result<nlohmann::json> DescribeDistilBert(const Graph& graph) {
  const Description d(graph);
  const std::string words = "distilbert.embeddings.word_embeddings";
  const int64_t dim = d.Columns(words);
  return nlohmann::json{
      {"vocab_size", d.Rows(words)},
      {"dim", dim},
      {"n_layers", d.CountAfter(".transformer.layer.")},
      {"n_heads", d.Heads(dim)},
      {"hidden_dim", d.MostRows(".intermediate")},
      {"activation", d.Function(".intermediate_act", ".intermediate")},
      {"max_position_embeddings", d.Rows("distilbert.embeddings.position_embeddings")},
      {"tie_word_embeddings", d.Tied("vocab_projector", words)}};
}

}  // namespace thimble
