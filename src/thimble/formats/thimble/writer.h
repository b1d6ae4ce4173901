// Writes .thimble files (thimble.fbs describes them) in the form that the runtime uses in place:
// weights of linear nodes in panels, embedding tables row-major, both as f32, f16 or i8; every
// other constant as row-major f32.
//
// Constants that share storage are stored once for each form in which they are used. Reading a file
// and writing the model again gives the same bytes.
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

}  // namespace thimble
