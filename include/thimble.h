/* Thimble: run small transformers. The C interface (C99, and C++) of libthimble.
 *
 *   thimble_model* model;
 *   thimble_predictor* predictor;
 *   thimble_results* results;
 *   if (thimble_model_load("m.thimble", &model) != THIMBLE_OK) return fail(thimble_error());
 *   if (thimble_predictor_create(model, NULL, &predictor) != THIMBLE_OK) ...
 *   if (thimble_predict_text(predictor, "a thimble of joy", NULL, &results) != THIMBLE_OK) ...
 *   thimble_label label = {.struct_size = sizeof label};
 *   for (size_t k = 0; k < thimble_results_label_count(results, 0); ++k) {
 *     thimble_results_label(results, 0, k, &label);
 *     printf("%s %.3f\n", label.name, label.score);
 *   }
 *
 * Ownership: what a function hands out through its last parameter belongs to the caller, who gives it to
 * the matching _free function; NULL is nothing to free. The order of freeing does not matter: a predictor
 * keeps alive what it needs of its model, results what they need of both. Every other pointer that a
 * function returns points into the object it was asked of and is valid until that object is freed.
 * What a caller passes in is copied, unless said otherwise, and need not live on after the call.
 *
 * Errors: functions that can fail return a thimble_status. When it is not THIMBLE_OK, thimble_error() is one
 * line that says what, where and what to do, and the handle of the last parameter, if it has one, is NULL.
 * Other functions answer 0 or NULL when there is nothing to tell: an object that is NULL, an index that is
 * too large, a result that the task does not have. No C++ exception leaves the library, whose failed calls
 * may leave memory behind only when memory itself has run out.
 *
 * Threads: models, results and tokens never change; any thread may use them at any time. A predictor is used
 * by one thread at a time; any number of predictors share a model, and its weights, and run at once.
 *
 * Compatibility: structures begin with their size, which the caller sets to sizeof, so that later versions can
 * add members behind those that are here. Members that a caller does not know are zero to the library;
 * members that the library does not know must be zero, or the call is THIMBLE_UNSUPPORTED. Set the rest of
 * a structure to zero: `thimble_options options = {.struct_size = sizeof options};`. Values of enumerations never change;
 * later versions may add some. Before version 1.0 a minor version may break, and CHANGELOG.md says so.
 *
 * Text is UTF-8; bytes that are not are read as U+FFFD and counted. Places in text are byte offsets.
 */
#ifndef THIMBLE_H_
#define THIMBLE_H_

#include <stddef.h>
#include <stdint.h>

#define THIMBLE_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* --- Version and errors ------------------------------------------------------------------------- */

/* Of this header. */
#define THIMBLE_VERSION_MAJOR 0
#define THIMBLE_VERSION_MINOR 1
#define THIMBLE_VERSION_PATCH 0
#define THIMBLE_VERSION \
  (THIMBLE_VERSION_MAJOR * 1000000 + THIMBLE_VERSION_MINOR * 1000 + THIMBLE_VERSION_PATCH)

/* Of the library that runs: a number as THIMBLE_VERSION, and "major.minor.patch" for people. */
THIMBLE_API int32_t thimble_version(void);
THIMBLE_API const char* thimble_version_text(void);

/* The instruction set whose kernels predictors of this process take on this processor: "avx2", "neon", ... */
THIMBLE_API const char* thimble_instruction_set(void);

typedef enum thimble_status {
  THIMBLE_OK = 0,
  THIMBLE_INVALID_ARGUMENT = 1, /* the call is wrong, or its input: an id that the model has not */
  THIMBLE_NOT_FOUND = 2,        /* no such file */
  THIMBLE_IO = 3,               /* the system refused to read it */
  THIMBLE_INVALID_DATA = 4,     /* bytes that are no model, or a damaged one */
  THIMBLE_UNSUPPORTED = 5,      /* understood, but needs a newer library */
  THIMBLE_RESOURCE_EXHAUSTED = 6, /* memory or threads */
  THIMBLE_INTERNAL = 7            /* a mistake of the library: please report it */
} thimble_status;

/* What the last failed call of this thread said, "" if none failed: one line of at most 1023 bytes, the
 * thread's own, valid until its next failed call. */
THIMBLE_API const char* thimble_error(void);

/* --- Models ------------------------------------------------------------------------------------- */

typedef struct thimble_model thimble_model;

/* Maps a .thimble file and uses its weights in place: quick, and processes share them. The file must not be
 * changed in place while the model lives (replacing it by renaming another is fine). */
THIMBLE_API thimble_status thimble_model_load(const char* path, thimble_model** model);

typedef enum thimble_bytes_use {
  THIMBLE_COPY = 0, /* the library copies the bytes */
  THIMBLE_IN_PLACE =
      1 /* the bytes begin at a multiple of 64, do not change, and outlive the model and all
                        * that was made from it: an array in flash memory, a mapping of the caller's */
} thimble_bytes_use;

/* The same from the bytes of a file; `use` is a thimble_bytes_use. */
THIMBLE_API thimble_status thimble_model_load_bytes(const void* bytes, size_t size, int32_t use,
                                                    thimble_model** model);

/* A model that a file of adapters makes of its base, whose weights both share in memory; `base` may be freed
 * before it. THIMBLE_INVALID_DATA: the file is no adapter, or one of another base. */
THIMBLE_API thimble_status thimble_adapter_load(const thimble_model* base, const char* path,
                                                thimble_model** model);
THIMBLE_API thimble_status thimble_adapter_load_bytes(const thimble_model* base, const void* bytes,
                                                      size_t size, int32_t use,
                                                      thimble_model** model);

THIMBLE_API void thimble_model_free(thimble_model* model);

/* What the results of a model are. */
typedef enum thimble_task {
  THIMBLE_FEATURES = 0,     /* an embedding */
  THIMBLE_SINGLE_LABEL = 1, /* one label of several */
  THIMBLE_MULTI_LABEL = 2,  /* any of several labels */
  THIMBLE_REGRESSION = 3,   /* values */
  THIMBLE_TOKEN_LABELS = 4, /* a label for each token */
  THIMBLE_ANSWERS = 5,      /* spans of a context that answer a question */
  THIMBLE_MASKED_LM = 6,    /* candidates for masked tokens */
  THIMBLE_PRETRAINING = 7   /* the same, with a second output for pairs */
} thimble_task;

THIMBLE_API thimble_task thimble_model_task(const thimble_model* model);
THIMBLE_API const char* thimble_model_architecture(
    const thimble_model* model); /* "bert", ...: for people */

/* Names of labels, one per score; "LABEL_0", ... where the model has none. 0 for tasks without labels. */
THIMBLE_API size_t thimble_model_label_count(const thimble_model* model);
THIMBLE_API const char* thimble_model_label(const thimble_model* model, size_t label);

/* Longest sequence in tokens, special ones included; 0: no limit. */
THIMBLE_API size_t thimble_model_max_tokens(const thimble_model* model);
/* 1 if the model reads text, 0 if it takes token ids only. */
THIMBLE_API int32_t thimble_model_reads_text(const thimble_model* model);

/* Names of the outputs that thimble_options.outputs may ask for: "logits", "last_hidden_state", ... */
THIMBLE_API size_t thimble_model_output_count(const thimble_model* model);
THIMBLE_API const char* thimble_model_output_name(const thimble_model* model, size_t output);

/* --- Predictors --------------------------------------------------------------------------------- */

typedef struct thimble_predictor thimble_predictor;

typedef struct thimble_options {
  size_t struct_size; /* sizeof(thimble_options) */
  int32_t threads;    /* that work on one call, this one included; 0: 1, at most 1024 */
  int32_t no_answer;  /* answers: 1: the empty one where the model prefers none (SQuAD 2.0) */
  size_t max_tokens;  /* longer texts are cut; 0: the model's limit, which is never exceeded */
  size_t answers;     /* answers: spans to give, at most; 0: 1 */
  const char* const* outputs; /* outputs to hand out as they are, beside the task's result */
  size_t output_count;
} thimble_options;

/* `options` may be NULL: all zero. THIMBLE_INVALID_ARGUMENT: an option out of range, an output that the
 * model has not. */
THIMBLE_API thimble_status thimble_predictor_create(const thimble_model* model,
                                                    const thimble_options* options,
                                                    thimble_predictor** predictor);
THIMBLE_API void thimble_predictor_free(thimble_predictor* predictor);

/* A text, a pair of texts, a question (text) with its context (pair), or token ids. */
typedef struct thimble_input {
  size_t struct_size; /* sizeof(thimble_input) */
  const char* text;   /* may be NULL where text_size is 0 */
  size_t text_size;   /* bytes */
  const char* pair;   /* NULL: there is none */
  size_t pair_size;   /* bytes */
  /* If id_count is not 0, the texts are ignored. Arrays of id_count elements; types and mask may be NULL: all 0, and
   * all 1. Tokens with mask 0 keep their places but are not attended to. */
  const int32_t* ids;
  const int32_t* types;
  const uint8_t* mask;
  size_t id_count;
} thimble_input;

/* --- Tokens ------------------------------------------------------------------------------------- */

/* The tokens of one input, special ones included. */
typedef struct thimble_tokens thimble_tokens;

/* Cuts text and pair to the predictor's max_tokens. A long context, which predictions read in several windows,
 * is cut too. THIMBLE_INVALID_ARGUMENT: the model takes ids only. */
THIMBLE_API thimble_status thimble_tokenize(const thimble_predictor* predictor,
                                            const thimble_input* input, thimble_tokens** tokens);
THIMBLE_API void thimble_tokens_free(thimble_tokens* tokens);

THIMBLE_API size_t thimble_tokens_count(const thimble_tokens* tokens);
/* Arrays of that many elements: ids; 0 for the first text and its special tokens, 1 for the pair's. */
THIMBLE_API const int32_t* thimble_tokens_ids(const thimble_tokens* tokens);
THIMBLE_API const int32_t* thimble_tokens_types(const thimble_tokens* tokens);
/* The bytes that a token comes from; an empty range for special ones. */
THIMBLE_API size_t thimble_tokens_begin(const thimble_tokens* tokens, size_t token);
THIMBLE_API size_t thimble_tokens_end(const thimble_tokens* tokens, size_t token);

/* --- Predictions -------------------------------------------------------------------------------- */

/* The results of one call, one per input, in order. */
typedef struct thimble_results thimble_results;

/* Runs `count` inputs, which all have the same struct_size, as one batch; each result is what the input would
 * give alone. THIMBLE_INVALID_ARGUMENT names the input that cannot be read. */
THIMBLE_API thimble_status thimble_predict(thimble_predictor* predictor,
                                           const thimble_input* inputs, size_t count,
                                           thimble_results** results);
/* The same for one text, or a pair, that end with a zero; `pair` may be NULL. */
THIMBLE_API thimble_status thimble_predict_text(thimble_predictor* predictor, const char* text,
                                                const char* pair, thimble_results** results);
THIMBLE_API void thimble_results_free(thimble_results* results);

THIMBLE_API size_t thimble_results_count(const thimble_results* results);

/* What of an input the model has read. */
typedef struct thimble_reading {
  size_t struct_size;      /* sizeof(thimble_reading) */
  size_t tokens;           /* special ones included */
  size_t truncated_tokens; /* cut off because the input was too long */
  size_t invalid_bytes;    /* not UTF-8 */
} thimble_reading;
THIMBLE_API thimble_status thimble_results_reading(const thimble_results* results, size_t input,
                                                   thimble_reading* reading);

/* Labels that apply: the best one for THIMBLE_SINGLE_LABEL; those that reach their thresholds, in the model's
 * order, for THIMBLE_MULTI_LABEL. */
typedef struct thimble_label {
  size_t struct_size; /* sizeof(thimble_label) */
  size_t label;       /* index for thimble_model_label */
  const char* name;
  float score; /* probability */
} thimble_label;
THIMBLE_API size_t thimble_results_label_count(const thimble_results* results, size_t input);
THIMBLE_API thimble_status thimble_results_label(const thimble_results* results, size_t input,
                                                 size_t index, thimble_label* label);
/* A score for every label, applying or not; for THIMBLE_REGRESSION the values. */
THIMBLE_API const float* thimble_results_scores(const thimble_results* results, size_t input,
                                                size_t* count);

/* THIMBLE_TOKEN_LABELS: every token but the special ones, with its label. */
typedef struct thimble_token {
  size_t struct_size; /* sizeof(thimble_token) */
  size_t token;       /* index among all tokens of the input */
  int32_t id;
  int32_t sequence;  /* 0: of the text, 1: of the pair */
  size_t begin, end; /* bytes there; 0 where the input was ids */
  size_t label;
  const char* name;
  float score; /* probability */
} thimble_token;
THIMBLE_API size_t thimble_results_token_count(const thimble_results* results, size_t input);
THIMBLE_API thimble_status thimble_results_token(const thimble_results* results, size_t input,
                                                 size_t index, thimble_token* token);

/* THIMBLE_ANSWERS: spans, best first. With thimble_options.no_answer the first one is empty, and stands for none,
 * where the model prefers that. */
typedef struct thimble_answer {
  size_t struct_size; /* sizeof(thimble_answer) */
  size_t begin, end;  /* bytes of the context; where the input was ids, tokens */
  float score;        /* probability */
} thimble_answer;
THIMBLE_API size_t thimble_results_answer_count(const thimble_results* results, size_t input);
THIMBLE_API thimble_status thimble_results_answer(const thimble_results* results, size_t input,
                                                  size_t index, thimble_answer* answer);

/* THIMBLE_MASKED_LM, THIMBLE_PRETRAINING: per masked token of the input its candidates, best first. */
typedef struct thimble_candidate {
  size_t struct_size; /* sizeof(thimble_candidate) */
  size_t token;       /* index of the masked token among all tokens of the input */
  int32_t id;
  float score;       /* probability */
  const char* piece; /* text of the token id, "" if the model takes ids only */
} thimble_candidate;
THIMBLE_API size_t thimble_results_masked_count(const thimble_results* results, size_t input);
THIMBLE_API size_t thimble_results_candidate_count(const thimble_results* results, size_t input,
                                                   size_t masked);
THIMBLE_API thimble_status thimble_results_candidate(const thimble_results* results, size_t input,
                                                     size_t masked, size_t index,
                                                     thimble_candidate* candidate);

/* THIMBLE_FEATURES. */
THIMBLE_API const float* thimble_results_embedding(const thimble_results* results, size_t input,
                                                   size_t* count);

/* An output that thimble_options.outputs asked for, by its place there: [rows, width], rows one after another. One
 * row, or one per token; of a context in several windows, those of the first. */
typedef struct thimble_matrix {
  size_t struct_size; /* sizeof(thimble_matrix) */
  size_t rows, width;
  const float* values;
} thimble_matrix;
THIMBLE_API thimble_status thimble_results_output(const thimble_results* results, size_t input,
                                                  size_t output, thimble_matrix* matrix);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* THIMBLE_H_ */
