// The pieces that BERT, RoBERTa, ALBERT and DistilBERT share: post-norm attention and feed-forward
// blocks (Vaswani et al. 2017, Devlin et al. 2019). Only the names of their weights differ.
#pragma once

#include <string>

#include "thimble/models/layers.h"

namespace thimble {

struct BlockNames {
  std::string query, key, value, attention_out, attention_norm, ffn_in, ffn_out, ffn_norm;
};

// BERT's and RoBERTa's names under one layer, e.g. "bert.encoder.layer.0".
BlockNames BertBlockNames(const std::string& layer);

struct BlockShape {
  int64_t heads = 12;
  int64_t kept_heads = 12;  // what "pruned_heads" leaves of them in this layer
  int64_t hidden = 768;
  int64_t intermediate = 3072;
  Activation activation = Activation::kGelu;
  double epsilon = 1e-12;
};

// One transformer layer. `weights` says where in the checkpoint its weights stand, `place` names its
// nodes; the two differ where several layers share weights (ALBERT).
ValueId TransformerBlock(Layers& layers, const BlockNames& weights, const std::string& place,
                         const BlockShape& shape, ValueId x);

// Sum of word, position and token type embeddings under "<prefix>.<...>_embeddings", then LayerNorm.
// types = 0: the architecture has none.
struct EmbeddingShape {
  int64_t vocabulary = 30522;
  int64_t positions = 512;
  int64_t types = 2;
  int64_t width = 768;
  double epsilon = 1e-12;
  PositionIdsAttrs position_ids;
};
ValueId BertEmbeddings(Layers& layers, const std::string& prefix, const EmbeddingShape& shape);

// "logits" of tasks whose head is one linear per token: token labels ("classifier") and answers
// ("qa_outputs"). Fails for the others.
void TokenHead(Layers& layers, Task task, const BuildOptions& options, ValueId hidden);

// Logits over the vocabulary: `x` times the rows of `decoder` (the word embedding, where they are tied).
ValueId VocabularyLogits(Layers& layers, const std::string& name, ValueId x,
                         const std::string& decoder, const std::string& bias, int64_t vocabulary);

// Output of a classifier on a pooled row.
void ClassifierHead(Layers& layers, const std::string& name, const BuildOptions& options,
                    ValueId pooled);

}  // namespace thimble
