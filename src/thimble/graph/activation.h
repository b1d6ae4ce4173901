// Activation functions as their definitions: in double precision, the oracle of every kernel.
#pragma once

#include "thimble/graph/ops.h"

namespace thimble {

double ApplyActivation(Activation function, double x);

}  // namespace thimble
