// thimble.h: what predictions hold.
#include <string>
#include <vector>

#include "thimble/c_api/boundary.h"
#include "thimble/c_api/handles.h"

namespace thimble::c_api {
namespace {

const Decided* Find(const thimble_results* results, size_t input) {
  return results != nullptr && input < results->inputs.size() ? &results->inputs[input] : nullptr;
}

const std::vector<TokenLabel>& Tokens(const Decided& input) { return input.prediction.tokens; }
const std::vector<MaskedToken>& Masked(const Decided& input) {
  return input.prediction.masked_tokens;
}
const std::vector<FloatMatrix>& Raw(const Decided& input) { return input.prediction.raw; }
const std::vector<LabelScore>& Labels(const Decided& input) { return input.labels; }
const std::vector<Answer>& Answers(const Decided& input) { return input.answers; }

template <class List>
size_t Count(const thimble_results* results, size_t input, const List& list) {
  const Decided* found = Find(results, input);
  return found == nullptr ? 0 : list(*found).size();
}

const float* Floats(const thimble_results* results, size_t input,
                    std::vector<float> Prediction::*floats, size_t* count) {
  const Decided* found = Find(results, input);
  const bool some = found != nullptr && !(found->prediction.*floats).empty();
  if (count != nullptr) *count = some ? (found->prediction.*floats).size() : 0;
  return some ? (found->prediction.*floats).data() : nullptr;
}

Result<const Decided*> Need(const thimble_results* results, size_t input) {
  if (results == nullptr) return InvalidArgument("the results are NULL");
  const Decided* found = Find(results, input);
  if (found == nullptr) {
    return InvalidArgument("there is no result " + std::to_string(input) + ": there are " +
                           std::to_string(results->inputs.size()));
  }
  return found;
}

Status NeedIndex(const char* what, size_t index, size_t count) {
  if (index < count) return {};
  return InvalidArgument("there is no " + std::string(what) + " " + std::to_string(index) +
                         ": the result has " + std::to_string(count));
}

// Fills `*out` with what `describe` makes of element `index` of the input's `list`.
template <class Struct, class List, class Describe>
thimble_status Give(const thimble_results* results, size_t input, const char* what, size_t index,
                    Struct* out, const List& list, const Describe& describe) {
  return Guard([&]() -> Status {
    TRY(const Decided* found, Need(results, input));
    TRY_VOID(NeedIndex(what, index, list(*found).size()));
    return WriteStruct(describe(list(*found)[index]), out);
  });
}

const char* Name(const thimble_results* results, size_t label) {
  return results->loaded->label_names[label].c_str();
}

const char* Piece(const thimble_results* results, int32_t id) {
  const std::vector<std::string>& pieces = results->loaded->model.tokenizer.pieces;
  const auto index = static_cast<size_t>(id);
  return id >= 0 && index < pieces.size() ? pieces[index].c_str() : "";
}

}  // namespace
}  // namespace thimble::c_api

using namespace thimble;         // NOLINT: this file implements C functions
using namespace thimble::c_api;  // NOLINT

void thimble_results_free(thimble_results* results) { delete results; }

size_t thimble_results_count(const thimble_results* results) {
  return results == nullptr ? 0 : results->inputs.size();
}

thimble_status thimble_results_reading(const thimble_results* results, size_t input,
                                       thimble_reading* reading) {
  return Guard([&]() -> Status {
    TRY(const Decided* found, Need(results, input));
    const Prediction& p = found->prediction;
    return WriteStruct(thimble_reading{0, p.tokens_in, p.truncated_tokens, p.invalid_bytes},
                       reading);
  });
}

size_t thimble_results_label_count(const thimble_results* results, size_t input) {
  return Count(results, input, Labels);
}

thimble_status thimble_results_label(const thimble_results* results, size_t input, size_t index,
                                     thimble_label* label) {
  return Give(results, input, "label", index, label, Labels, [&](const LabelScore& l) {
    return thimble_label{0, l.label, Name(results, l.label), l.score};
  });
}

const float* thimble_results_scores(const thimble_results* results, size_t input, size_t* count) {
  return Floats(results, input, &Prediction::scores, count);
}

size_t thimble_results_token_count(const thimble_results* results, size_t input) {
  return Count(results, input, Tokens);
}

thimble_status thimble_results_token(const thimble_results* results, size_t input, size_t index,
                                     thimble_token* token) {
  return Give(results, input, "token", index, token, Tokens, [&](const TokenLabel& t) {
    return thimble_token{.struct_size = 0,
                         .token = t.token,
                         .id = t.id,
                         .sequence = t.sequence,
                         .begin = t.range.begin,
                         .end = t.range.end,
                         .label = t.best.label,
                         .name = Name(results, t.best.label),
                         .score = t.best.score};
  });
}

size_t thimble_results_answer_count(const thimble_results* results, size_t input) {
  return Count(results, input, Answers);
}

thimble_status thimble_results_answer(const thimble_results* results, size_t input, size_t index,
                                      thimble_answer* answer) {
  return Give(results, input, "answer", index, answer, Answers, [](const Answer& a) {
    return thimble_answer{0, a.begin, a.end, a.score};
  });
}

size_t thimble_results_masked_count(const thimble_results* results, size_t input) {
  return Count(results, input, Masked);
}

size_t thimble_results_candidate_count(const thimble_results* results, size_t input,
                                       size_t masked) {
  return masked < thimble_results_masked_count(results, input)
             ? Masked(results->inputs[input])[masked].candidates.size()
             : 0;
}

thimble_status thimble_results_candidate(const thimble_results* results, size_t input,
                                         size_t masked, size_t index,
                                         thimble_candidate* candidate) {
  return Guard([&]() -> Status {
    TRY(const Decided* found, Need(results, input));
    TRY_VOID(NeedIndex("masked token", masked, Masked(*found).size()));
    const MaskedToken& token = Masked(*found)[masked];
    TRY_VOID(NeedIndex("candidate", index, token.candidates.size()));
    const MaskedToken::Candidate& c = token.candidates[index];
    return WriteStruct(thimble_candidate{0, token.token, c.id, c.score, Piece(results, c.id)},
                       candidate);
  });
}

const float* thimble_results_embedding(const thimble_results* results, size_t input,
                                       size_t* count) {
  return Floats(results, input, &Prediction::embedding, count);
}

thimble_status thimble_results_output(const thimble_results* results, size_t input, size_t output,
                                      thimble_matrix* matrix) {
  return Give(results, input, "output", output, matrix, Raw, [](const FloatMatrix& m) {
    return thimble_matrix{0, m.rows, m.width, m.values.data()};
  });
}
