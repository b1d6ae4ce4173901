// Small models of every task, with random weights, for tests of what reads text.
#pragma once

#include <cstdint>

#include "thimble/formats/model.h"

namespace thimble {

// 17 pieces: special tokens and a few words ("a fine film", "where is it in paris"), lower case, at most 24 tokens.
TokenizerSpec TestVocabulary();

// An embedding of that vocabulary and a head of `outputs` columns, per token or on the first token, as
// the task has it. Labels L0, L1, ...
Model TestModel(Task task, int64_t outputs);

}  // namespace thimble
