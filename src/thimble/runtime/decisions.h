// What follows from a prediction for whoever acts on it: which labels apply, which answer counts.
#pragma once

#include <string>
#include <vector>

#include "thimble/formats/model.h"
#include "thimble/runtime/predictor.h"

namespace thimble {

// The model's name of a label, or "LABEL_<index>" where it has none.
std::string LabelName(const Model& model, size_t label);

// kSingleLabel: the best label; kMultiLabel: those whose scores reach their thresholds, in order of
// the labels; other tasks: none.
std::vector<LabelScore> AppliedLabels(const Model& model, const Prediction& prediction);

// The best span; an empty one if there is none, or, with `may_be_none`, where the logit of "no answer" is the
// larger one (SQuAD 2.0). Its score is then how sure that is: the sigmoid of the difference.
Answer DecidedAnswer(const Prediction& prediction, bool may_be_none);

}  // namespace thimble
