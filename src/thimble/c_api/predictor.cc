// thimble.h: predictors and tokens.
#include "thimble/runtime/predictor.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "thimble/c_api/boundary.h"
#include "thimble/c_api/handles.h"
#include "thimble/runtime/decisions.h"

namespace thimble::c_api {
namespace {

constexpr int32_t kMaxThreads = 1024;

Result<PredictorOptions> OptionsOf(const thimble_options& options) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return InvalidArgument("threads is " + std::to_string(options.threads) + ", not 0 to " +
                           std::to_string(kMaxThreads));
  }
  if (options.output_count != 0 && options.outputs == nullptr) {
    return InvalidArgument("outputs is NULL, output_count is not 0");
  }
  PredictorOptions result{.threads = std::max(options.threads, 1),
                          .max_length = options.max_tokens,
                          .answers = std::max<size_t>(options.answers, 1)};
  for (size_t i = 0; i < options.output_count; ++i) {
    if (options.outputs[i] == nullptr) return InvalidArgument("a name in outputs is NULL");
    result.raw_outputs.emplace_back(options.outputs[i]);
  }
  return result;
}

Result<PredictorInput> InputOf(const thimble_input& input) {
  if (input.id_count != 0) {
    if (input.ids == nullptr) return InvalidArgument("ids is NULL, id_count is not 0");
    PredictorInput result;
    result.ids.assign(input.ids, input.ids + input.id_count);
    if (input.types != nullptr) result.type_ids.assign(input.types, input.types + input.id_count);
    if (input.mask != nullptr) result.mask.assign(input.mask, input.mask + input.id_count);
    return result;
  }
  if (input.text == nullptr && input.text_size != 0) {
    return InvalidArgument("text is NULL, text_size is not 0");
  }
  PredictorInput result;
  if (input.text != nullptr) result.text.assign(input.text, input.text_size);
  if (input.pair != nullptr) result.pair.emplace(input.pair, input.pair_size);
  return result;
}

// The inputs lie struct_size bytes apart, as the caller's version of the structure has it.
Result<std::vector<PredictorInput>> InputsOf(const thimble_input* inputs, size_t count) {
  if (inputs == nullptr && count != 0) return InvalidArgument("the inputs are NULL");
  std::vector<PredictorInput> result;
  result.reserve(count);
  const auto* place = reinterpret_cast<const unsigned char*>(inputs);
  for (size_t i = 0; i < count; ++i) {
    const auto* at = reinterpret_cast<const thimble_input*>(place);
    if (at->struct_size != inputs->struct_size) {
      return InvalidArgument("input " + std::to_string(i) +
                             " has another struct_size than the first");
    }
    thimble_input input{};
    TRY_VOID(ReadStruct(at, input));
    Result<PredictorInput> one = InputOf(input);
    if (!one.has_value()) return std::move(one).error().In("input " + std::to_string(i));
    result.push_back(*std::move(one));
    place += at->struct_size;
  }
  return result;
}

Decided Decide(const thimble_predictor& predictor, Prediction prediction) {
  Decided decided;
  decided.labels = AppliedLabels(predictor.loaded->model, prediction);
  const Answer best = DecidedAnswer(prediction, predictor.no_answer);
  const bool none = !prediction.answers.empty() && best.end == 0;
  if (none) decided.answers.push_back(best);
  decided.answers.insert(decided.answers.end(), prediction.answers.begin(),
                         prediction.answers.end());
  decided.prediction = std::move(prediction);
  return decided;
}

using MadeResults = Result<std::unique_ptr<thimble_results>>;

MadeResults Predict(thimble_predictor* predictor, const thimble_input* inputs, size_t count) {
  if (predictor == nullptr) return InvalidArgument("the predictor is NULL");
  TRY(const std::vector<PredictorInput> texts, InputsOf(inputs, count));
  TRY(std::vector<Prediction> predictions, predictor->predictor.Predict(texts));
  auto results = std::make_unique<thimble_results>();
  results->loaded = predictor->loaded;
  for (Prediction& p : predictions) results->inputs.push_back(Decide(*predictor, std::move(p)));
  return results;
}

}  // namespace
}  // namespace thimble::c_api

using namespace thimble;         // NOLINT: this file implements C functions
using namespace thimble::c_api;  // NOLINT

thimble_status thimble_predictor_create(const thimble_model* model, const thimble_options* options,
                                        thimble_predictor** predictor) {
  return Make(predictor, [&]() -> Result<std::unique_ptr<thimble_predictor>> {
    if (model == nullptr) return InvalidArgument("the model is NULL");
    thimble_options known{};
    if (options != nullptr) TRY_VOID(ReadStruct(options, known));
    TRY(PredictorOptions predictor_options, OptionsOf(known));
    TRY(Predictor made, Predictor::Create(model->loaded->model, std::move(predictor_options)));
    return std::make_unique<thimble_predictor>(
        thimble_predictor{model->loaded, known.no_answer != 0, std::move(made)});
  });
}

void thimble_predictor_free(thimble_predictor* predictor) { delete predictor; }

thimble_status thimble_tokenize(const thimble_predictor* predictor, const thimble_input* input,
                                thimble_tokens** tokens) {
  return Make(tokens, [&]() -> Result<std::unique_ptr<thimble_tokens>> {
    if (predictor == nullptr) return InvalidArgument("the predictor is NULL");
    TRY(const std::vector<PredictorInput> one, InputsOf(input, 1));
    const Tokenizer* tokenizer = predictor->predictor.tokenizer();
    if (tokenizer == nullptr) return InvalidArgument("the model has no tokenizer");
    if (!one[0].ids.empty()) return InvalidArgument("the input has token ids already");
    const EncodeOptions how{.max_length = predictor->predictor.max_length()};
    TRY(Encoding encoding, one[0].pair.has_value()
                               ? tokenizer->EncodePair(one[0].text, *one[0].pair, how)
                               : tokenizer->Encode(one[0].text, how));
    return std::make_unique<thimble_tokens>(thimble_tokens{std::move(encoding)});
  });
}

void thimble_tokens_free(thimble_tokens* tokens) { delete tokens; }

size_t thimble_tokens_count(const thimble_tokens* tokens) {
  return tokens == nullptr ? 0 : tokens->encoding.ids.size();
}

const int32_t* thimble_tokens_ids(const thimble_tokens* tokens) {
  return tokens == nullptr ? nullptr : tokens->encoding.ids.data();
}

const int32_t* thimble_tokens_types(const thimble_tokens* tokens) {
  return tokens == nullptr ? nullptr : tokens->encoding.type_ids.data();
}

size_t thimble_tokens_begin(const thimble_tokens* tokens, size_t token) {
  return token < thimble_tokens_count(tokens) ? tokens->encoding.offsets[token].begin : 0;
}

size_t thimble_tokens_end(const thimble_tokens* tokens, size_t token) {
  return token < thimble_tokens_count(tokens) ? tokens->encoding.offsets[token].end : 0;
}

thimble_status thimble_predict(thimble_predictor* predictor, const thimble_input* inputs,
                               size_t count, thimble_results** results) {
  return Make(results, [&] { return Predict(predictor, inputs, count); });
}

thimble_status thimble_predict_text(thimble_predictor* predictor, const char* text,
                                    const char* pair, thimble_results** results) {
  return Make(results, [&]() -> MadeResults {
    if (text == nullptr) return InvalidArgument("the text is NULL");
    thimble_input input{};
    input.struct_size = sizeof(input);
    input.text = text;
    input.text_size = std::strlen(text);
    input.pair = pair;
    input.pair_size = pair == nullptr ? 0 : std::strlen(pair);
    return Predict(predictor, &input, 1);
  });
}
