// Conversions between float32 and the 16-bit floating-point formats, one value at a time: the plain
// version that kernels are tested against.
#pragma once

#include <cstdint>

namespace thimble {

// IEEE 754 binary16. Rounds to nearest even; overflow gives infinity; NaN stays NaN.
float HalfToFloat(uint16_t half);
uint16_t FloatToHalf(float value);

// bfloat16: the upper half of a float32. Rounds to nearest even; NaN stays NaN.
float BFloat16ToFloat(uint16_t bf16);
uint16_t FloatToBFloat16(float value);

}  // namespace thimble
