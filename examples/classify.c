/* Classifies texts in C.
 *
 *   classify MODEL TEXT...
 *   classify --logits MODEL TEXT...    the model's raw numbers instead of labels
 *
 * How to build it against an installed library: docs/library.md. */
#include <stdio.h>
#include <string.h>
#include <thimble.h>

static int fail(void) {
  fprintf(stderr, "classify: %s\n", thimble_error());
  return 1;
}

static int print_labels(const char* text, const thimble_results* results) {
  const size_t count = thimble_results_label_count(results, 0);
  size_t k;
  for (k = 0; k < count; ++k) {
    thimble_label label = {.struct_size = sizeof label};
    if (thimble_results_label(results, 0, k, &label) != THIMBLE_OK) return fail();
    printf("%5.1f %%  %s  %s\n", 100.0 * label.score, label.name, text);
  }
  return 0;
}

static int print_logits(const thimble_results* results) {
  thimble_matrix logits = {.struct_size = sizeof logits};
  size_t i;
  if (thimble_results_output(results, 0, 0, &logits) != THIMBLE_OK) return fail();
  for (i = 0; i < logits.rows * logits.width; ++i) {
    printf("%s%.9g", i == 0 ? "" : " ", logits.values[i]);
  }
  printf("\n");
  return 0;
}

int main(int argc, char** argv) {
  const int raw = argc > 1 && strcmp(argv[1], "--logits") == 0;
  const char* const outputs[] = {"logits"};
  thimble_options options = {.struct_size = sizeof options};
  thimble_model* model = NULL;
  thimble_predictor* predictor = NULL;
  int status = 0;
  int i;

  if (argc < raw + 3) {
    fprintf(stderr, "usage: classify [--logits] MODEL TEXT...\n");
    return 2;
  }
  if (raw) {
    options.outputs = outputs;
    options.output_count = 1;
  }
  if (thimble_model_load(argv[raw + 1], &model) != THIMBLE_OK ||
      thimble_predictor_create(model, &options, &predictor) != THIMBLE_OK) {
    status = fail();
  }
  for (i = raw + 2; status == 0 && i < argc; ++i) {
    thimble_results* results = NULL;
    if (thimble_predict_text(predictor, argv[i], NULL, &results) != THIMBLE_OK) {
      status = fail();
    } else {
      status = raw ? print_logits(results) : print_labels(argv[i], results);
    }
    thimble_results_free(results);
  }
  thimble_predictor_free(predictor);
  thimble_model_free(model);
  return status;
}
