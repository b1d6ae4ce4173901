/* What thimble.mjs knows of thimble.h: sizes and offsets of its structures on wasm32. */
#include <stddef.h>

#include "thimble.h"

#define SIZE(type, size) _Static_assert(sizeof(type) == (size), "SIZE in thimble.mjs")
#define AT(type, member, offset) \
  _Static_assert(offsetof(type, member) == (offset), "thimble.mjs reads " #type)

SIZE(thimble_options, 28);
AT(thimble_options, no_answer, 8);
AT(thimble_options, max_tokens, 12);
AT(thimble_options, answers, 16);
AT(thimble_options, outputs, 20);
AT(thimble_options, output_count, 24);

SIZE(thimble_input, 36);
AT(thimble_input, text, 4);
AT(thimble_input, pair, 12);
AT(thimble_input, ids, 20);
AT(thimble_input, types, 24);
AT(thimble_input, mask, 28);
AT(thimble_input, id_count, 32);

SIZE(thimble_reading, 16);
AT(thimble_reading, tokens, 4);
AT(thimble_reading, truncated_tokens, 8);
AT(thimble_reading, invalid_bytes, 12);

SIZE(thimble_label, 16);
AT(thimble_label, label, 4);
AT(thimble_label, name, 8);
AT(thimble_label, score, 12);

SIZE(thimble_token, 36);
AT(thimble_token, token, 4);
AT(thimble_token, id, 8);
AT(thimble_token, sequence, 12);
AT(thimble_token, begin, 16);
AT(thimble_token, end, 20);
AT(thimble_token, label, 24);
AT(thimble_token, name, 28);
AT(thimble_token, score, 32);

SIZE(thimble_answer, 16);
AT(thimble_answer, begin, 4);
AT(thimble_answer, end, 8);
AT(thimble_answer, score, 12);

SIZE(thimble_candidate, 20);
AT(thimble_candidate, token, 4);
AT(thimble_candidate, id, 8);
AT(thimble_candidate, score, 12);
AT(thimble_candidate, piece, 16);

SIZE(thimble_matrix, 16);
AT(thimble_matrix, rows, 4);
AT(thimble_matrix, width, 8);
AT(thimble_matrix, values, 12);
