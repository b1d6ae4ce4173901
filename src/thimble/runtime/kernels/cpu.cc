#include "thimble/runtime/kernels/cpu.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
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

bool CpuHasAvx512Vnni() { return CpuHasAvx512() && __builtin_cpu_supports("avx512vnni"); }

bool CpuHasAvxVnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return CpuHasAvx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 &&
         (eax & (1u << 4)) != 0;
}

bool CpuHasAmxInt8() {
#if defined(__linux__) && defined(__x86_64__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kAmx = 1u << 24 | 1u << 25;  // tiles and their int8 products
  const bool in_processor = CpuHasAvx512Vnni() &&
                            __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 &&
                            (edx & kAmx) == kAmx;
  // Tiles are 8 KiB more to save at a context switch; Linux lets a process use them if it asks, and
  // all its threads with it.
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return in_processor && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#else
bool CpuHasSse4() { return false; }
bool CpuHasAvx2() { return false; }
bool CpuHasAvx512() { return false; }
bool CpuHasAvx512Vnni() { return false; }
bool CpuHasAvxVnni() { return false; }
bool CpuHasAmxInt8() { return false; }
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
