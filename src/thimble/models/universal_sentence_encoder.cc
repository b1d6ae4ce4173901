// Universal Sentence Encoder, Lite (Cer et al. 2018): a small pre-norm transformer whose masked
// mean goes through one dense layer to a sentence embedding of length 1.
//
//   x = words + positions
//   x = widen(x) + attention(norm(x))     widen: a dense layer where the width changes, else x
//   itself x = x + feed_forward(norm(x))         ReLU embedding = |tanh(dense(mean(x)))|_2
//
// There is no norm at the end.
#include "thimble/models/builders.h"
#include "thimble/models/config.h"
#include "thimble/models/layers.h"

namespace thimble {
namespace {

struct Shapes {
  int64_t vocabulary, positions, embedding, hidden, intermediate, heads, depth;
  double epsilon;
};

ValueId Embeddings(Layers& layers, const Shapes& shapes) {
  const ValueId ids = layers.Input(kInputIds);
  const ValueId words =
      layers.Embedding("embeddings.word_embeddings", ids, shapes.vocabulary, shapes.embedding);
  const ValueId positions = layers.Embedding(
      "embeddings.position_embeddings", layers.Positions(ids), shapes.positions, shapes.embedding);
  return layers.Add("embeddings", words, positions);
}

ValueId Layer(Layers& layers, const std::string& layer, const Shapes& shapes, ValueId x) {
  const int64_t width = layers.Width(x);
  const std::string attention = layer + ".attention";
  const ValueId in = layers.LayerNorm(attention + ".layer_norm", x, shapes.epsilon);
  const ValueId q = layers.Linear(attention + ".query", in, width);
  const ValueId k = layers.Linear(attention + ".key", in, width);
  const ValueId v = layers.Linear(attention + ".value", in, width);
  ValueId y = layers.Attention(attention + ".scores", q, k, v, shapes.heads);
  y = layers.Linear(attention + ".output", y, shapes.hidden);
  if (width != shapes.hidden) x = layers.Linear(layer + ".widen", x, shapes.hidden);
  x = layers.Add(attention + ".residual", y, x);

  const std::string ffn = layer + ".feed_forward";
  y = layers.LayerNorm(ffn + ".layer_norm", x, shapes.epsilon);
  y = layers.Linear(ffn + ".intermediate", y, shapes.intermediate);
  y = layers.Act(ffn + ".activation", y, Activation::kRelu);
  y = layers.Linear(ffn + ".output", y, shapes.hidden);
  return layers.Add(ffn + ".residual", y, x);
}

}  // namespace

Result<Graph> BuildUniversalSentenceEncoder(const nlohmann::json& json, const BuildOptions& options,
                                            WeightSource& weights) {
  if (options.task != Task::kFeatures) {
    return Unsupported("universal_sentence_encoder gives features, not " +
                       std::string(TaskName(options.task)));
  }
  ConfigReader read(json);
  const Shapes shapes{.vocabulary = read.Size("vocab_size", 8002),
                      .positions = read.Size("max_position_embeddings", 128),
                      .embedding = read.Size("embedding_size", 256),
                      .hidden = read.Size("hidden_size", 512),
                      .intermediate = read.Size("intermediate_size", 1536),
                      .heads = read.Size("num_attention_heads", 4),
                      .depth = read.Size("num_hidden_layers", 2),
                      .epsilon = read.Epsilon("layer_norm_eps", 1e-6)};
  read.RequireDivides("num_attention_heads", shapes.heads, "embedding_size", shapes.embedding);
  read.RequireDivides("num_attention_heads", shapes.heads, "hidden_size", shapes.hidden);
  TRY_VOID(read.status());

  Layers layers(weights);
  ValueId x = Embeddings(layers, shapes);
  for (int64_t i = 0; i < shapes.depth && x != kNoValue; ++i) {
    x = Layer(layers, "encoder.layer." + std::to_string(i), shapes, x);
  }
  layers.Output("last_hidden_state", x);
  ValueId pooled = layers.Pool("pooler.mean", x, PoolKind::kMean);
  pooled = layers.Linear("pooler.dense", pooled, shapes.hidden);
  pooled = layers.Act("pooler.activation", pooled, Activation::kTanh);
  layers.Output("pooler_output", layers.L2Normalize("pooler.normalize", pooled));
  return std::move(layers).Finish(shapes.positions);
}

Result<nlohmann::json> DescribeUniversalSentenceEncoder(const Graph&) {
  return Unsupported("the original of universal_sentence_encoder is no model of Hugging Face's");
}

}  // namespace thimble
