// What this processor, under this operating system, can run.
#pragma once

namespace thimble {

// AVX-512 F, BW, CD, DQ and VL; with VNNI, also what came with it in Ice Lake (VBMI, VBMI2, BITALG,
// VPOPCNTDQ, VAES, VPCLMULQDQ).
bool CpuHasAvx512Vnni();
bool CpuHasAvx512();
bool CpuHasAvx2();  // with FMA, F16C, BMI1 and BMI2
bool CpuHasSse4();  // SSE4.2
bool CpuHasNeon();

}  // namespace thimble
