// MobileBERT (Sun et al. 2020): thin blocks between linear bottlenecks, stacked feed-forward
// networks, NoNorm (an affine map) in place of LayerNorm, word embeddings widened by their
// neighbours.
#include "thimble/models/builders.h"
#include "thimble/models/config.h"
#include "thimble/models/describe.h"
#include "thimble/models/encoder.h"

namespace thimble {
namespace {

// Norms that the original builds without passing its configured epsilon.
constexpr double kDefaultEpsilon = 1e-5;

struct MobileBertConfig {
  int64_t vocabulary, positions, types;
  int64_t embedding, hidden, bottleneck, intermediate;
  int64_t layers, heads, feed_forwards;
  std::vector<int64_t> kept_heads;  // of each layer
  Activation activation;
  double epsilon;
  bool no_norm, trigram, use_bottleneck, bottleneck_attention, shared_key_query;
  bool tied;
  bool pooler;  // "classifier_activation": dense and tanh on the first token

  // Width inside a block.
  int64_t inner() const { return use_bottleneck ? bottleneck : hidden; }
};

Result<MobileBertConfig> ReadMobileBertConfig(const nlohmann::json& json) {
  ConfigReader read(json);
  MobileBertConfig c{};
  c.vocabulary = read.Size("vocab_size", 30522);
  c.positions = read.Size("max_position_embeddings", 512);
  c.types = read.Size("type_vocab_size", 2);
  c.embedding = read.Size("embedding_size", 128);
  c.hidden = read.Size("hidden_size", 512);
  c.bottleneck = read.Size("intra_bottleneck_size", 128);
  c.intermediate = read.Size("intermediate_size", 512);
  c.layers = read.Count("num_hidden_layers", 24);
  c.heads = read.Size("num_attention_heads", 4);
  c.feed_forwards = read.Count("num_feedforward_networks", 4);
  c.activation = read.Function("hidden_act", "relu");
  c.epsilon = read.Epsilon("layer_norm_eps", 1e-12);
  c.trigram = read.Flag("trigram_input", true);
  c.use_bottleneck = read.Flag("use_bottleneck", true);
  c.bottleneck_attention = read.Flag("use_bottleneck_attention", false);
  c.shared_key_query = read.Flag("key_query_shared_bottleneck", true);
  c.pooler = read.Flag("classifier_activation", true);
  c.tied = read.Flag("tie_word_embeddings", true);
  const std::string norm = read.Text("normalization_type", "no_norm");
  c.no_norm = norm == "no_norm";
  if (!c.no_norm && norm != "layer_norm") {
    read.Fail(Unsupported("\"normalization_type\" is \"" + norm.substr(0, 40) +
                          "\", must be \"no_norm\" or \"layer_norm\""));
  }
  c.kept_heads = read.KeptHeads(c.layers, c.heads);
  read.RequireDivides("num_attention_heads", c.heads,
                      c.use_bottleneck ? "intra_bottleneck_size" : "hidden_size", c.inner());
  if (c.use_bottleneck && !c.bottleneck_attention && !c.shared_key_query &&
      c.bottleneck != c.hidden) {
    read.Fail(InvalidData(
        "\"key_query_shared_bottleneck\" and \"use_bottleneck_attention\" are false, so "
        "queries would read \"hidden_size\" " +
        std::to_string(c.hidden) + " with weights for \"intra_bottleneck_size\" " +
        std::to_string(c.bottleneck)));
  }
  TRY_VOID(read.status());
  return c;
}

class MobileBert {
 public:
  MobileBert(const MobileBertConfig& config, WeightSource& weights)
      : c_(config), layers_(weights) {}

  Result<Graph> Build(const BuildOptions& options) && {
    ValueId x = Embeddings();
    for (int64_t i = 0; i < c_.layers && x != kNoValue; ++i) {
      x = Block("mobilebert.encoder.layer." + std::to_string(i),
                c_.kept_heads[static_cast<size_t>(i)], x);
    }
    layers_.Output("last_hidden_state", x);
    Heads(options, x);
    return std::move(layers_).Finish(c_.positions);
  }

 private:
  ValueId Norm(const std::string& name, ValueId x, double epsilon) {
    return c_.no_norm ? layers_.Affine(name, x) : layers_.LayerNorm(name, x, epsilon);
  }

  // Norm(dense(x) + residual): every sub-layer ends this way.
  ValueId Residual(const std::string& name, ValueId x, ValueId residual, int64_t width,
                   double epsilon) {
    const ValueId y = layers_.Linear(name + ".dense", x, width);
    return Norm(name + ".LayerNorm", layers_.Add(name + ".residual", y, residual), epsilon);
  }

  ValueId Embeddings() {
    const std::string p = "mobilebert.embeddings";
    const ValueId ids = layers_.Input(kInputIds), types = layers_.Input(kTokenTypeIds);
    ValueId x = layers_.Embedding(p + ".word_embeddings", ids, c_.vocabulary, c_.embedding);
    if (c_.trigram) x = layers_.Trigram(p + ".trigram", x);
    if (c_.trigram || c_.embedding != c_.hidden) {
      x = layers_.Linear(p + ".embedding_transformation", x, c_.hidden);
    }
    x = layers_.Add(p + ".add_positions", x,
                    layers_.Embedding(p + ".position_embeddings", layers_.Positions(ids),
                                      c_.positions, c_.hidden));
    x = layers_.Add(p + ".add_token_types", x,
                    layers_.Embedding(p + ".token_type_embeddings", types, c_.types, c_.hidden));
    return Norm(p + ".LayerNorm", x, kDefaultEpsilon);
  }

  ValueId Bottleneck(const std::string& name, ValueId x) {
    return Norm(name + ".LayerNorm", layers_.Linear(name + ".dense", x, c_.bottleneck), c_.epsilon);
  }

  // What queries and keys, values, and the residual of the attention read.
  struct BlockInputs {
    ValueId query_key, value, residual;
  };
  BlockInputs Bottlenecks(const std::string& layer, ValueId x) {
    if (!c_.use_bottleneck) return {x, x, x};
    const ValueId z = Bottleneck(layer + ".bottleneck.input", x);
    if (c_.bottleneck_attention) return {z, z, z};
    if (c_.shared_key_query) return {Bottleneck(layer + ".bottleneck.attention", x), x, z};
    return {x, x, z};
  }

  ValueId FeedForward(const std::string& intermediate, const std::string& output, ValueId x,
                      double epsilon) {
    ValueId f = layers_.Linear(intermediate + ".dense", x, c_.intermediate);
    f = layers_.Act(intermediate + ".activation", f, c_.activation);
    return Residual(output, f, x, c_.inner(), epsilon);
  }

  ValueId Block(const std::string& layer, int64_t heads, ValueId x) {
    const BlockInputs in = Bottlenecks(layer, x);
    const std::string self = layer + ".attention.self";
    const int64_t width = c_.inner() / c_.heads * heads;
    const ValueId q = layers_.Linear(self + ".query", in.query_key, width);
    const ValueId k = layers_.Linear(self + ".key", in.query_key, width);
    const ValueId v = layers_.Linear(self + ".value", in.value, width);
    ValueId a = layers_.Attention(self, q, k, v, heads);
    a = Residual(layer + ".attention.output", a, in.residual, c_.inner(), c_.epsilon);
    for (int64_t i = 0; i + 1 < c_.feed_forwards && a != kNoValue; ++i) {
      const std::string ffn = layer + ".ffn." + std::to_string(i);
      a = FeedForward(ffn + ".intermediate", ffn + ".output", a, c_.epsilon);
    }
    a = FeedForward(layer + ".intermediate", layer + ".output", a, kDefaultEpsilon);
    if (!c_.use_bottleneck) return a;
    return Residual(layer + ".output.bottleneck", a, x, c_.hidden, c_.epsilon);
  }

  ValueId Pooled(ValueId x) {
    ValueId pooled = layers_.First("mobilebert.pooler.first", x);
    if (c_.pooler) {
      pooled = layers_.Linear("mobilebert.pooler.dense", pooled, c_.hidden);
      pooled = layers_.Act("mobilebert.pooler.activation", pooled, Activation::kTanh);
    }
    layers_.Output("pooler_output", pooled);
    return pooled;
  }

  // The decoder's rows are the word embedding (unless the two are not tied), continued by columns of its own up to the hidden
  // size.
  Weight Decoder() {
    const Weight words = layers_.Get(
        c_.tied ? "mobilebert.embeddings.word_embeddings.weight" : "cls.predictions.decoder.weight",
        {c_.vocabulary, c_.embedding});
    if (c_.hidden == c_.embedding) return words;
    const Weight rest = layers_.Transposed(
        layers_.Get("cls.predictions.dense.weight", {c_.hidden - c_.embedding, c_.vocabulary}));
    const std::vector<float> left = words.tensor.ToFloats(), right = rest.tensor.ToFloats();
    if (left.empty() || right.empty()) return words;  // an error is pending
    std::vector<float> rows;
    rows.reserve(left.size() + right.size());
    const int64_t extra = c_.hidden - c_.embedding;
    for (int64_t v = 0; v < c_.vocabulary; ++v) {
      rows.insert(rows.end(), left.begin() + v * c_.embedding,
                  left.begin() + (v + 1) * c_.embedding);
      rows.insert(rows.end(), right.begin() + v * extra, right.begin() + (v + 1) * extra);
    }
    return {"cls.predictions.decoder.weight", Tensor::FromFloats({c_.vocabulary, c_.hidden}, rows)};
  }

  void MaskedLmHead(ValueId x) {
    if (c_.hidden < c_.embedding) {
      layers_.Fail(
          InvalidData("\"hidden_size\" is smaller than \"embedding_size\", which leaves no "
                      "masked language modelling head"));
      return;
    }
    const std::string p = "cls.predictions";
    ValueId y = layers_.Linear(p + ".transform.dense", x, c_.hidden);
    y = layers_.Act(p + ".transform.activation", y, c_.activation);
    y = layers_.LayerNorm(p + ".transform.LayerNorm", y,
                          c_.epsilon);  // a true norm in every variant
    const std::string bias = layers_.Has(p + ".bias") ? p + ".bias" : p + ".decoder.bias";
    layers_.Output(
        "logits", layers_.Linear(p + ".decoder", y, Decoder(), layers_.Get(bias, {c_.vocabulary})));
  }

  void Heads(const BuildOptions& options, ValueId x) {
    switch (options.task) {
      case Task::kFeatures:
        if (!c_.pooler || layers_.Has("mobilebert.pooler.dense.weight")) Pooled(x);
        break;
      case Task::kSingleLabel:
      case Task::kMultiLabel:
      case Task::kRegression:
        ClassifierHead(layers_, "classifier", options, Pooled(x));
        break;
      case Task::kMaskedLm:
        MaskedLmHead(x);
        break;
      case Task::kPretraining:
        MaskedLmHead(x);
        layers_.Output("seq_relationship_logits",
                       layers_.Linear("cls.seq_relationship", Pooled(x), 2));
        break;
      default:
        TokenHead(layers_, options.task, options, x);
    }
  }

  const MobileBertConfig& c_;
  Layers layers_;
};

}  // namespace

Result<Graph> BuildMobileBert(const nlohmann::json& json, const BuildOptions& options,
                              WeightSource& weights) {
  TRY(const MobileBertConfig config, ReadMobileBertConfig(json));
  return MobileBert(config, weights).Build(options);
}

Result<nlohmann::json> DescribeMobileBert(const Graph& graph) {
  const Description d(graph);
  const std::string words = "mobilebert.embeddings.word_embeddings";
  const int64_t hidden = d.Columns("mobilebert.embeddings.position_embeddings");
  const bool bottleneck = d.Any(".output.bottleneck.dense") != nullptr;
  const bool shared = d.Any(".bottleneck.attention.dense") != nullptr;
  const int64_t inner =
      bottleneck ? d.Rows("mobilebert.encoder.layer.0.bottleneck.input.dense") : hidden;
  // Without one of its own an attention reads what enters the layer, or the bottleneck of the residual.
  const Node* value = d.Any(".attention.self.value");
  const bool values_from_bottleneck =
      value == nullptr ||
      graph.value(value->inputs[0]).name.ends_with(".bottleneck.input.LayerNorm");
  const Node* norm = d.Find("mobilebert.embeddings.LayerNorm");
  const bool no_norm = norm == nullptr || norm->op == OpKind::kAffine;
  return nlohmann::json{
      {"vocab_size", d.Rows(words)},
      {"max_position_embeddings", d.Rows("mobilebert.embeddings.position_embeddings")},
      {"type_vocab_size", d.Rows("mobilebert.embeddings.token_type_embeddings")},
      {"embedding_size", d.Columns(words)},
      {"hidden_size", hidden},
      {"intra_bottleneck_size", inner},
      {"intermediate_size", d.MostRows(".intermediate.dense")},
      {"num_hidden_layers", d.CountAfter(".encoder.layer.")},
      {"num_attention_heads", d.Heads(inner)},
      {"num_feedforward_networks", d.CountAfter(".ffn.") + 1},
      {"hidden_act", d.Function(".intermediate.activation", ".intermediate.dense")},
      {"layer_norm_eps",
       d.Epsilon(no_norm ? "predictions.transform.LayerNorm" : ".attention.output.LayerNorm")},
      {"trigram_input", d.Has("mobilebert.embeddings.trigram")},
      {"use_bottleneck", bottleneck},
      {"use_bottleneck_attention", bottleneck && !shared && values_from_bottleneck},
      {"key_query_shared_bottleneck", bottleneck && shared},
      {"classifier_activation",
       d.Has("mobilebert.pooler.dense") || !d.Has("mobilebert.pooler.first")},
      {"normalization_type", no_norm ? "no_norm" : "layer_norm"},
      {"tie_word_embeddings", d.Tied("cls.predictions.decoder", words)}};
}

}  // namespace thimble
