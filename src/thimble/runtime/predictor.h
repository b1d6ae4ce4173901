// From text to what a model's task promises: labels with scores, spans, answers, embeddings.
//
//   Result<Predictor> predictor = Predictor::Create(model, {.threads = 2});
//   Result<std::vector<Prediction>> results = predictor->Predict(inputs);
//
// Predictions do not depend on what else is in the batch: each is what its input would give alone.
// The model must outlive the predictor. Thread-safety: one thread at a time per predictor; any number of
// predictors may share a model.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/runtime/session.h"
#include "thimble/text/tokenizer.h"

namespace thimble {

// What to predict on: a text, a pair, a question with its context (pair = context), or ready ids.
struct PredictorInput {
  std::string text;
  std::optional<std::string> pair;
  // If not empty, text and pair are ignored.
  std::vector<int32_t> ids, type_ids;
  std::vector<uint8_t> mask;  // empty: all ones
};

struct LabelScore {
  size_t label = 0;  // index into Model::labels
  float score = 0;
};

// A token of the input with its label. Byte range in the text (in text or pair, as `sequence` says);
// {0, 0} for ready ids.
struct TokenLabel {
  int32_t id = 0;
  size_t token = 0;  // index into the encoded input
  int sequence = 0;  // 0: text, 1: pair
  ByteRange range;
  LabelScore best;
};

// A span that may answer; bytes of the context, or for ready ids token indices. Of several windows the one with
// the largest logit counts, as in SQuAD's evaluation: probabilities are of one window alone.
struct Answer {
  uint32_t begin = 0, end = 0;
  float score = 0;  // probability within its window
  float logit = 0;  // of the start plus that of the end
};

// Candidates for one masked token.
struct MaskedToken {
  size_t token = 0;
  ByteRange range;
  struct Candidate {
    int32_t id = 0;
    float score = 0;
  };
  std::vector<Candidate> candidates;  // best first
};

struct FloatMatrix {
  size_t rows = 0, width = 0;
  std::vector<float> values;
};

struct Prediction {
  // kSingleLabel: probabilities that sum to 1; kMultiLabel: one probability each; kRegression: values.
  std::vector<float> scores;
  std::vector<TokenLabel> tokens;  // kTokenLabels, special tokens left out
  std::vector<Answer>
      answers;  // kAnswers: different spans, best first; none where there is no context
  // kAnswers: the logits of "no answer" (start and end at the first token), the least over all windows.
  std::optional<float> no_answer_logit;
  std::vector<MaskedToken> masked_tokens;  // kMaskedLm, kPretraining
  std::vector<float> embedding;            // kFeatures

  // With PredictorOptions::raw_outputs: those matrices, in that order.
  std::vector<FloatMatrix> raw;

  size_t tokens_in = 0;         // tokens that the model saw
  size_t truncated_tokens = 0;  // cut off because the input was too long
  size_t invalid_bytes = 0;     // of the input, read as U+FFFD
};

struct PredictorOptions {
  int threads = 1;
  const Kernels* kernels = nullptr;
  // Graph outputs to hand out as they are, beside the task's result.
  std::vector<std::string> raw_outputs;
  size_t max_length = 0;       // tokens; 0: the model's limit
  size_t answer_window = 384;  // tokens per window of a long context, and their overlap
  size_t answer_stride = 128;
  size_t max_answer_tokens = 30;
  size_t answers = 1;  // spans to give, at most
  size_t masked_candidates = 5;
};

class Predictor {
 public:
  static Result<Predictor> Create(const Model& model, PredictorOptions options = {});

  // One result per input, in order. Fails as a whole, naming the input by its index.
  Result<std::vector<Prediction>> Predict(std::span<const PredictorInput> inputs);

  const Session& session() const { return session_; }
  const Tokenizer* tokenizer() const { return tokenizer_ ? &*tokenizer_ : nullptr; }  // may be null
  size_t max_length() const { return options_.max_length; }  // tokens; 0: no limit

 private:
  // One sequence of the batch and where it came from; windows of one long context share an input.
  struct Sequence {
    size_t input = 0;
    Encoding encoding;
    bool ready_ids = false;
  };

  Predictor(const Model& model, PredictorOptions options, std::optional<Tokenizer> tokenizer,
            Session session);
  Status Encode(std::span<const PredictorInput> inputs);
  Status EncodeText(size_t index, const PredictorInput& input);
  void Decode(const Sequence& sequence, size_t row, Prediction& out) const;
  void DecodeTokens(const Sequence& sequence, const OutputView& logits, size_t first,
                    Prediction& out) const;
  void DecodeAnswer(const Sequence& sequence, const OutputView& logits, size_t first,
                    Prediction& out) const;
  void DecodeMasked(const Sequence& sequence, const OutputView& logits, size_t first,
                    Prediction& out) const;
  void DecodeEmbedding(const Sequence& sequence, const OutputView& features, size_t row,
                       size_t first, Prediction& out) const;

  const Model* model_;
  PredictorOptions options_;
  std::optional<Tokenizer> tokenizer_;
  Session session_;
  Batch batch_;
  std::vector<Sequence> sequences_;
};

// Probabilities of one row of logits.
std::vector<float> Softmax(std::span<const float> logits);
float Sigmoid(float logit);

}  // namespace thimble
