// A model in memory as its .thimble file would give it back: in the form that the runtime uses.
#pragma once

#include "thimble/base/result.h"
#include "thimble/formats/model.h"

namespace thimble {

Result<Model> Packed(const Model& model);

}  // namespace thimble
