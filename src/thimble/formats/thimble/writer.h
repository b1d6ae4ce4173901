// Writes .thimble files (thimble.fbs describes them) in the form that the runtime uses in place:
// weights of linear nodes in panels, embedding tables row-major, both as f32, f16 or i8; every
// other constant as row-major f32.
//
// Constants that share storage are stored once for each form in which they are used. Reading a file
// and writing the model again gives the same bytes.
//
// An adapter holds what a model has and another one, its base, has not: whatever shares storage with the base, in the
// form that the model needs, is left out. What kind of adapter it is, the format does not ask: low-rank matrices and
// a head (passes/lora.h), a head alone, other biases.
#pragma once

#include <string>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"

namespace thimble {

// Replaces the file under `path` atomically. Needs memory for one repacked tensor, not for the
// file.
Status WriteThimble(const Model& model, const std::string& path);

// The bytes of the same file.
Result<std::string> SerializeThimble(const Model& model);

// The same for an adapter. `base` is as ReadThimble or ReadAdapter gave it. kInvalidArgument: it is not, or the model
// has another tokenizer.
Status WriteAdapter(const Model& model, const Model& base, const std::string& path);
Result<std::string> SerializeAdapter(const Model& model, const Model& base);

}  // namespace thimble
