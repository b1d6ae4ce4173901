#include "thimble/models/encoder.h"

namespace thimble {
namespace {

// A linear whose weights stand under another name than its node.
ValueId LinearFrom(Layers& layers, const std::string& weights, const std::string& node, ValueId x,
                   int64_t outputs) {
  return layers.Linear(node, x, layers.Get(weights + ".weight", {outputs, layers.Width(x)}),
                       layers.Get(weights + ".bias", {outputs}));
}

}  // namespace

BlockNames BertBlockNames(const std::string& layer) {
  return {.query = layer + ".attention.self.query",
          .key = layer + ".attention.self.key",
          .value = layer + ".attention.self.value",
          .attention_out = layer + ".attention.output.dense",
          .attention_norm = layer + ".attention.output.LayerNorm",
          .ffn_in = layer + ".intermediate.dense",
          .ffn_out = layer + ".output.dense",
          .ffn_norm = layer + ".output.LayerNorm"};
}

ValueId TransformerBlock(Layers& layers, const BlockNames& weights, const std::string& place,
                         const BlockShape& shape, ValueId x) {
  const int64_t width = shape.hidden / shape.heads * shape.kept_heads;
  const ValueId q = LinearFrom(layers, weights.query, place + ".query", x, width);
  const ValueId k = LinearFrom(layers, weights.key, place + ".key", x, width);
  const ValueId v = LinearFrom(layers, weights.value, place + ".value", x, width);
  ValueId a = layers.Attention(place + ".attention", q, k, v, shape.kept_heads);
  a = LinearFrom(layers, weights.attention_out, place + ".attention_output", a, shape.hidden);
  a = layers.Add(place + ".attention_residual", a, x);
  a = layers.LayerNormFrom(weights.attention_norm, place + ".attention_norm", a, shape.epsilon);
  ValueId f = LinearFrom(layers, weights.ffn_in, place + ".intermediate", a, shape.intermediate);
  f = layers.Act(place + ".intermediate_act", f, shape.activation);
  f = LinearFrom(layers, weights.ffn_out, place + ".output", f, shape.hidden);
  f = layers.Add(place + ".output_residual", f, a);
  return layers.LayerNormFrom(weights.ffn_norm, place + ".output_norm", f, shape.epsilon);
}

ValueId BertEmbeddings(Layers& layers, const std::string& prefix, const EmbeddingShape& shape) {
  const ValueId ids = layers.Input(kInputIds);
  ValueId x = layers.Embedding(prefix + ".word_embeddings", ids, shape.vocabulary, shape.width);
  if (shape.types > 0) {
    const ValueId types = layers.Input(kTokenTypeIds);
    x = layers.Add(
        prefix + ".add_token_types", x,
        layers.Embedding(prefix + ".token_type_embeddings", types, shape.types, shape.width));
  }
  x = layers.Add(
      prefix + ".add_positions", x,
      layers.Embedding(prefix + ".position_embeddings", layers.Positions(ids, shape.position_ids),
                       shape.positions, shape.width));
  return layers.LayerNorm(prefix + ".LayerNorm", x, shape.epsilon);
}

void TokenHead(Layers& layers, Task task, const BuildOptions& options, ValueId hidden) {
  if (task == Task::kTokenLabels) {
    layers.Output("logits", layers.Linear("classifier", hidden, options.labels.value_or(-1)));
  } else if (task == Task::kAnswers) {
    layers.Output("logits", layers.Linear("qa_outputs", hidden, 2));
  } else {
    layers.Fail(
        Unsupported("the architecture has no head for the task " + std::string(TaskName(task))));
  }
}

ValueId VocabularyLogits(Layers& layers, const std::string& name, ValueId x,
                         const std::string& decoder, const std::string& bias, int64_t vocabulary) {
  return layers.Linear(name, x, layers.Get(decoder, {vocabulary, layers.Width(x)}),
                       layers.Get(bias, {vocabulary}));
}

void ClassifierHead(Layers& layers, const std::string& name, const BuildOptions& options,
                    ValueId pooled) {
  layers.Output("logits", layers.Linear(name, pooled, options.labels.value_or(-1)));
}

}  // namespace thimble
