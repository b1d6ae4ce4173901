// A folder with a TensorFlow.js model, as packages of sentence encoders carry it, to a Model.
#pragma once

#include <string>
#include <string_view>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/formats/tfjs/tfjs_model.h"

namespace thimble {

// Reads model.json, the files that it names, and vocab.json.
Result<Model> ImportTfjs(const std::string& directory);

// The same from parts in memory.
Result<Model> ImportTfjs(TfjsModel& weights, std::string_view vocabulary_json);

// vocab.json: a list of [piece, score]; the first six are never produced from text, the first
// stands for what no piece covers. A score of null counts as 0, which is what JavaScript makes of
// it.
Result<TokenizerSpec> ParseUnigramVocabulary(std::string_view json);

}  // namespace thimble
