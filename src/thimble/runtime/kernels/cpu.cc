#include "thimble/runtime/kernels/cpu.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace thimble {

#if defined(__x86_64__) || defined(__i386__)
// The compiler's own detection asks the operating system too whether it saves the registers.

bool CpuHasSse4() { return __builtin_cpu_supports("sse4.2"); }

bool CpuHasAvx2() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  // F16C, which not every compiler's detection knows.
  const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & (1u << 29)) != 0;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && f16c;
}

bool CpuHasAvx512() {
  return CpuHasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

bool CpuHasAvx512Vnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kVaes = 1u << 9, kVpclmulqdq = 1u << 10;
  const bool wide_ciphers = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 &&
                            (ecx & (kVaes | kVpclmulqdq)) == (kVaes | kVpclmulqdq);
  return CpuHasAvx512() && wide_ciphers && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq");
}
#else
bool CpuHasSse4() { return false; }
bool CpuHasAvx2() { return false; }
bool CpuHasAvx512() { return false; }
bool CpuHasAvx512Vnni() { return false; }
#endif

// Part of every 64-bit Arm processor; elsewhere the compiler was told.
bool CpuHasNeon() {
#if defined(__ARM_NEON)
  return true;
#else
  return false;
#endif
}

}  // namespace thimble
