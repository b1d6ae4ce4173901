// config.json and the model card of an exported directory.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/huggingface/json.h"
#include "thimble/formats/huggingface/write_weights.h"
#include "thimble/formats/model.h"

namespace thimble {

// "BertForMaskedLM". kUnsupported: an architecture or a task that Hugging Face has no class for.
Result<std::string> ModelClass(const Model& model, const Json& described);

// What Hugging Face's class reads: sizes, pruned heads, class, task, labels, type of the weights. Settings of training
// (dropout and the like) are left to the class.
Json WriteConfig(const Model& model, const WrittenWeights& weights, const std::string& model_class);

// README.md: front matter for the hub, how to load the model, what it costs, its labels with their thresholds, what it
// was judged by, and all that is known of where it comes from.
std::string WriteModelCard(const Model& model, const WrittenWeights& weights,
                           const std::string& model_class, const std::string& name);

}  // namespace thimble
