/* thimble.h is C99 and clean under -Wall -Wextra -pedantic, and a C program links every function of it. */
#include "thimble.h"

#include <stdio.h>
#include <string.h>

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                       \
    }                                                                 \
  } while (0)

int main(void) {
  thimble_model* model = NULL;
  thimble_predictor* predictor = NULL;
  thimble_tokens* tokens = NULL;
  thimble_results* results = NULL;
  thimble_options options = {.struct_size = sizeof options};
  thimble_input input = {.struct_size = sizeof input};
  thimble_reading reading = {.struct_size = sizeof reading};
  thimble_label label = {.struct_size = sizeof label};
  thimble_token token = {.struct_size = sizeof token};
  thimble_answer answer = {.struct_size = sizeof answer};
  thimble_candidate candidate = {.struct_size = sizeof candidate};
  thimble_matrix matrix = {.struct_size = sizeof matrix};
  size_t count = 1;

  CHECK(thimble_version() == THIMBLE_VERSION);
  CHECK(strlen(thimble_version_text()) >= 5);
  CHECK(strlen(thimble_instruction_set()) > 0);
  CHECK(thimble_error()[0] == '\0');

  CHECK(thimble_model_load("", &model) == THIMBLE_NOT_FOUND);
  CHECK(thimble_error()[0] != '\0');
  CHECK(thimble_model_load_bytes("", 0, THIMBLE_COPY, &model) == THIMBLE_INVALID_DATA);
  CHECK(thimble_model_load_bytes("x", 1, (thimble_bytes_use)9, &model) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_adapter_load(NULL, "", &model) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_adapter_load_bytes(NULL, "", 0, THIMBLE_IN_PLACE, &model) ==
        THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_model_task(NULL) == THIMBLE_FEATURES);
  CHECK(thimble_model_architecture(NULL) == NULL);
  CHECK(thimble_model_label_count(NULL) == 0 && thimble_model_label(NULL, 0) == NULL);
  CHECK(thimble_model_max_tokens(NULL) == 0 && thimble_model_reads_text(NULL) == 0);
  CHECK(thimble_model_output_count(NULL) == 0 && thimble_model_output_name(NULL, 0) == NULL);
  CHECK(thimble_predictor_create(NULL, &options, &predictor) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_tokenize(NULL, &input, &tokens) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_tokens_count(NULL) == 0 && thimble_tokens_ids(NULL) == NULL);
  CHECK(thimble_tokens_types(NULL) == NULL);
  CHECK(thimble_tokens_begin(NULL, 0) == 0 && thimble_tokens_end(NULL, 0) == 0);
  CHECK(thimble_predict(NULL, &input, 1, &results) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_predict_text(NULL, "", NULL, &results) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_results_count(NULL) == 0);
  CHECK(thimble_results_reading(NULL, 0, &reading) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_results_label_count(NULL, 0) == 0);
  CHECK(thimble_results_label(NULL, 0, 0, &label) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_results_scores(NULL, 0, &count) == NULL && count == 0);
  CHECK(thimble_results_token_count(NULL, 0) == 0);
  CHECK(thimble_results_token(NULL, 0, 0, &token) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_results_answer_count(NULL, 0) == 0);
  CHECK(thimble_results_answer(NULL, 0, 0, &answer) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_results_masked_count(NULL, 0) == 0);
  CHECK(thimble_results_candidate_count(NULL, 0, 0) == 0);
  CHECK(thimble_results_candidate(NULL, 0, 0, 0, &candidate) == THIMBLE_INVALID_ARGUMENT);
  CHECK(thimble_results_embedding(NULL, 0, &count) == NULL);
  CHECK(thimble_results_output(NULL, 0, 0, &matrix) == THIMBLE_INVALID_ARGUMENT);

  thimble_model_free(model);
  thimble_predictor_free(predictor);
  thimble_tokens_free(tokens);
  thimble_results_free(results);
  return 0;
}
