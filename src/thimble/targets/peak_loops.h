// Loops that multiply in registers and do nothing else, one per instruction set.
#pragma once

#include <cstdint>
#include <string_view>

#include "thimble/targets/machine.h"

namespace thimble {

// Runs `steps` rounds and returns the multiply-adds done.
using PeakLoop = uint64_t (*)(uint64_t steps);

// Null where the build or the processor has no such instruction set.
PeakLoop FindPeakLoop(MultiplyKind kind, std::string_view isa);

}  // namespace thimble
