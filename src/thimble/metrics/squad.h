// How SQuAD compares an answer with the annotators': its evaluation script, both versions.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "thimble/data/dataset.h"

namespace thimble {

// Lower case, no ASCII punctuation, no articles (a, an, the), single blanks.
std::string NormalizeAnswer(std::string_view text);

// 0 or 1, and the F1 of shared words; the best over the gold answers. No gold answer: 1 for an empty
// prediction, else 0.
double ExactMatch(std::string_view predicted, std::span<const AnswerText> gold);
double AnswerF1(std::string_view predicted, std::span<const AnswerText> gold);

}  // namespace thimble
