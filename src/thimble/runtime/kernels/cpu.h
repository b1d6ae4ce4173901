// What this processor, under this operating system, can run.
#pragma once

namespace thimble {

// Beside AVX-512 VNNI. The answer also asks the operating system to let this process use tiles.
bool CpuHasAmxInt8();
bool CpuHasAvx512Vnni();  // beside AVX-512
bool CpuHasAvx512();      // F, BW, CD, DQ and VL
bool CpuHasAvxVnni();     // beside AVX2: VNNI of 256 bits
bool CpuHasAvx2();        // with FMA, F16C, BMI1 and BMI2
bool CpuHasSse4();        // SSE4.2
bool CpuHasNeon();

}  // namespace thimble
