#include "thimble/runtime/predictor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace thimble {

namespace {

// What the task's result is computed from.
std::string TaskOutput(const Model& model) {
  if (model.task != Task::kFeatures) return "logits";
  return model.graph.FindOutput("pooler_output") != nullptr ? "pooler_output" : "last_hidden_state";
}

LabelScore Best(std::span<const float> scores) {
  const auto best = std::max_element(scores.begin(), scores.end());
  return {static_cast<size_t>(best - scores.begin()), *best};
}

bool Attended(const Encoding& encoding, size_t token) {
  return encoding.attention_mask.empty() || encoding.attention_mask[token] != 0;
}

// Keeps the best `most`, one per span: windows overlap.
void InsertAnswer(const Answer& answer, size_t most, std::vector<Answer>& best) {
  const auto same = std::find_if(best.begin(), best.end(), [&](const Answer& a) {
    return a.begin == answer.begin && a.end == answer.end;
  });
  if (same != best.end()) {
    if (same->logit >= answer.logit) return;
    best.erase(same);
  }
  const auto behind = std::find_if(best.begin(), best.end(),
                                   [&](const Answer& a) { return a.logit < answer.logit; });
  best.insert(behind, answer);
  if (best.size() > most) best.pop_back();
}

}  // namespace

std::vector<float> Softmax(std::span<const float> logits) {
  const float max = *std::max_element(logits.begin(), logits.end());
  std::vector<float> p(logits.size());
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp(logits[i] - max);
  for (float& x : p) x = static_cast<float>(x / sum);
  return p;
}

float Sigmoid(float logit) { return 1.0f / (1.0f + std::exp(-logit)); }

Result<Predictor> Predictor::Create(const Model& model, PredictorOptions options) {
  std::optional<Tokenizer> tokenizer;
  if (model.tokenizer.kind != TokenizerKind::kNone) {
    TRY(tokenizer, Tokenizer::Create(model.tokenizer));
  }
  SessionOptions session_options{
      .threads = options.threads, .outputs = {TaskOutput(model)}, .kernels = options.kernels};
  for (const std::string& name : options.raw_outputs) {
    auto& names = session_options.outputs;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  TRY(Session session, Session::Create(model.graph, std::move(session_options)));
  return Predictor(model, std::move(options), std::move(tokenizer), std::move(session));
}

Predictor::Predictor(const Model& model, PredictorOptions options,
                     std::optional<Tokenizer> tokenizer, Session session)
    : model_(&model),
      options_(std::move(options)),
      tokenizer_(std::move(tokenizer)),
      session_(std::move(session)) {
  const auto limit = static_cast<size_t>(std::max<int64_t>(model.graph.max_sequence_length, 0));
  if (options_.max_length == 0 || (limit != 0 && options_.max_length > limit)) {
    options_.max_length = limit;
  }
}

Result<std::vector<Prediction>> Predictor::Predict(std::span<const PredictorInput> inputs) {
  std::vector<Prediction> results(inputs.size());
  if (inputs.empty()) return results;
  TRY_VOID(Encode(inputs));
  TRY_VOID(session_.Run(batch_));
  for (size_t row = 0; row < sequences_.size(); ++row) {
    Decode(sequences_[row], row, results[sequences_[row].input]);
  }
  return results;
}

Status Predictor::Encode(std::span<const PredictorInput> inputs) {
  batch_.Clear();
  sequences_.clear();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const PredictorInput& input = inputs[i];
    if (input.ids.empty()) {
      if (Status s = EncodeText(i, input); !s.has_value()) {
        return std::move(s).error().In("input " + std::to_string(i));
      }
      continue;
    }
    Sequence sequence{.input = i, .encoding = {}, .ready_ids = true};
    sequence.encoding.ids = input.ids;
    sequence.encoding.type_ids = input.type_ids;
    sequence.encoding.attention_mask = input.mask;
    batch_.Add(input.ids, input.type_ids, input.mask);
    sequences_.push_back(std::move(sequence));
  }
  return {};
}

Status Predictor::EncodeText(size_t index, const PredictorInput& input) {
  if (!tokenizer_.has_value()) {
    return InvalidArgument("the model has no tokenizer; give token ids instead of text");
  }
  std::vector<Encoding> encodings;
  if (model_->task == Task::kAnswers) {
    if (!input.pair.has_value()) {
      return InvalidArgument("the model answers questions; give a question and a context");
    }
    const size_t window = options_.max_length == 0
                              ? options_.answer_window
                              : std::min(options_.answer_window, options_.max_length);
    TRY(encodings, tokenizer_->EncodeWindows(input.text, *input.pair, window,
                                             std::min(options_.answer_stride, window / 3)));
  } else {
    // At least one token: of a text that has none, as unigram tokenizers give for an empty one, it is
    // padding, and what pools over it finds nothing.
    const EncodeOptions how{.max_length = options_.max_length, .pad_to = 1};
    TRY(Encoding encoding, input.pair.has_value()
                               ? tokenizer_->EncodePair(input.text, *input.pair, how)
                               : tokenizer_->Encode(input.text, how));
    encodings.push_back(std::move(encoding));
  }
  for (Encoding& encoding : encodings) {
    const bool nothing = !encoding.ids.empty() && encoding.attention_mask[0] == 0;
    batch_.Add(
        encoding.ids, encoding.type_ids,
        nothing ? std::span<const uint8_t>(encoding.attention_mask) : std::span<const uint8_t>());
    sequences_.push_back({.input = index, .encoding = std::move(encoding)});
  }
  return {};
}

void Predictor::Decode(const Sequence& sequence, size_t row, Prediction& out) const {
  const size_t first = batch_.offset(row);
  const size_t tokens = batch_.offset(row + 1) - first;
  out.tokens_in += tokens;
  out.truncated_tokens += sequence.encoding.truncated_tokens;
  out.invalid_bytes = std::max(out.invalid_bytes, sequence.encoding.invalid_bytes);
  const OutputView result = session_.output(0);
  switch (model_->task) {
    case Task::kSingleLabel:
      out.scores = Softmax(result.row(row));
      break;
    case Task::kMultiLabel:
      for (const float logit : result.row(row)) out.scores.push_back(Sigmoid(logit));
      break;
    case Task::kRegression:
      out.scores.assign(result.row(row).begin(), result.row(row).end());
      break;
    case Task::kTokenLabels:
      DecodeTokens(sequence, result, first, out);
      break;
    case Task::kAnswers:
      DecodeAnswer(sequence, result, first, out);
      break;
    case Task::kMaskedLm:
    case Task::kPretraining:
      DecodeMasked(sequence, result, first, out);
      break;
    case Task::kFeatures:
      DecodeEmbedding(sequence, result, row, first, out);
      break;
  }
  // A long context has several windows; what is handed out raw is the first.
  if (!out.raw.empty()) return;
  for (const std::string& name : options_.raw_outputs) {
    size_t i = 0;
    while (session_.output(i).name != name) ++i;
    const OutputView view = session_.output(i);
    const bool per_token = view.per == Rows::kTokens;
    FloatMatrix matrix{.rows = per_token ? tokens : 1, .width = view.width, .values = {}};
    for (size_t r = 0; r < matrix.rows; ++r) {
      const auto values = view.row((per_token ? first : row) + r);
      matrix.values.insert(matrix.values.end(), values.begin(), values.end());
    }
    out.raw.push_back(std::move(matrix));
  }
}

void Predictor::DecodeTokens(const Sequence& sequence, const OutputView& logits, size_t first,
                             Prediction& out) const {
  const Encoding& encoding = sequence.encoding;
  for (size_t t = 0; t < encoding.ids.size(); ++t) {
    if (!sequence.ready_ids && encoding.sequence[t] < 0) continue;
    TokenLabel token;
    token.id = encoding.ids[t];
    token.token = t;
    if (!sequence.ready_ids) {
      token.sequence = encoding.sequence[t];
      token.range = encoding.offsets[t];
    }
    token.best = Best(Softmax(logits.row(first + t)));
    out.tokens.push_back(token);
  }
}

void Predictor::DecodeAnswer(const Sequence& sequence, const OutputView& logits, size_t first,
                             Prediction& out) const {
  const Encoding& encoding = sequence.encoding;
  // Tokens that may be part of an answer: the context's; for ready ids every attended one of type 1, or
  // every attended one where no token has type 1.
  std::vector<size_t> candidates;
  const bool typed =
      std::find(encoding.type_ids.begin(), encoding.type_ids.end(), 1) != encoding.type_ids.end();
  for (size_t t = 0; t < encoding.ids.size(); ++t) {
    const bool context = sequence.ready_ids
                             ? Attended(encoding, t) && (!typed || encoding.type_ids[t] == 1)
                             : encoding.sequence[t] == 1;
    if (context) candidates.push_back(t);
  }
  const auto none = logits.row(first);
  out.no_answer_logit =
      std::min(out.no_answer_logit.value_or(none[0] + none[1]), none[0] + none[1]);
  if (candidates.empty()) return;
  std::vector<float> starts, ends;
  for (const size_t t : candidates) {
    starts.push_back(logits.row(first + t)[0]);
    ends.push_back(logits.row(first + t)[1]);
  }
  const std::vector<float> start_p = Softmax(starts), end_p = Softmax(ends);
  for (size_t s = 0; s < candidates.size(); ++s) {
    const size_t last = std::min(candidates.size(), s + options_.max_answer_tokens);
    for (size_t e = s; e < last; ++e) {
      const float logit = starts[s] + ends[e];
      if (out.answers.size() == options_.answers && logit <= out.answers.back().logit) continue;
      const size_t begin = candidates[s], end = candidates[e];
      const bool ids = sequence.ready_ids;
      InsertAnswer({.begin = ids ? static_cast<uint32_t>(begin) : encoding.offsets[begin].begin,
                    .end = ids ? static_cast<uint32_t>(end + 1) : encoding.offsets[end].end,
                    .score = start_p[s] * end_p[e],
                    .logit = logit},
                   options_.answers, out.answers);
    }
  }
}

void Predictor::DecodeMasked(const Sequence& sequence, const OutputView& logits, size_t first,
                             Prediction& out) const {
  const Encoding& encoding = sequence.encoding;
  for (size_t t = 0; t < encoding.ids.size(); ++t) {
    if (model_->tokenizer.mask_id < 0 || encoding.ids[t] != model_->tokenizer.mask_id) continue;
    const std::vector<float> scores = Softmax(logits.row(first + t));
    std::vector<int32_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    const size_t count = std::min(options_.masked_candidates, order.size());
    const auto better = [&](int32_t a, int32_t b) {
      return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
    };
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count),
                      order.end(), better);
    MaskedToken masked;
    masked.token = t;
    if (!sequence.ready_ids) masked.range = encoding.offsets[t];
    for (size_t i = 0; i < count; ++i) {
      masked.candidates.push_back({order[i], scores[static_cast<size_t>(order[i])]});
    }
    out.masked_tokens.push_back(std::move(masked));
  }
}

void Predictor::DecodeEmbedding(const Sequence& sequence, const OutputView& features, size_t row,
                                size_t first, Prediction& out) const {
  if (features.per == Rows::kSequences) {
    out.embedding.assign(features.row(row).begin(), features.row(row).end());
    return;
  }
  // Architectures without a pooler: the mean over the attended tokens.
  out.embedding.assign(features.width, 0.0f);
  size_t counted = 0;
  for (size_t t = 0; t < sequence.encoding.ids.size(); ++t) {
    if (!Attended(sequence.encoding, t)) continue;
    ++counted;
    const auto values = features.row(first + t);
    for (size_t c = 0; c < features.width; ++c) out.embedding[c] += values[c];
  }
  for (float& x : out.embedding) x /= static_cast<float>(std::max<size_t>(counted, 1));
}

}  // namespace thimble
