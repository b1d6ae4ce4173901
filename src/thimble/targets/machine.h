// What this machine can do at most, measured: the yardstick that benchmarks are held against.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "thimble/targets/energy.h"

namespace thimble {

enum class MultiplyKind : uint8_t { kFloat32, kInt8 };

// Multiply-adds per second, times two, of `threads` threads that do nothing but multiply in registers,
// with the best instructions of instruction set `isa` (a name of runtime/kernels, e.g. "avx2").
// Takes about `seconds`; the best of several slices, since machines are shared.
// Zero if this build or processor does not know the instruction set.
double MeasureMultiplyPeak(MultiplyKind kind, std::string_view isa, int threads,
                           double seconds = 0.1);

// Bytes per second that `threads` threads read from a buffer far larger than the caches.
double MeasureReadBandwidth(int threads, double seconds = 0.2);

// The processor as the system names it, e.g. "AMD EPYC 7763 64-Core Processor".
std::string ProcessorName();

// Highest resident memory of this process so far, in bytes.
uint64_t PeakResidentBytes();

// What other programs do to the machine while times are taken. Not thread-safe.
class OtherLoad {
 public:
  OtherLoad();  // from now on

  // Logical processors that programs other than this one and those it waited for (and what the system does for them)
  // kept busy since then, on average; negative where the system does not tell.
  double Processors();

 private:
  double busy_;  // seconds, of all processors
  UsageMeter own_{{}, ""};
};

}  // namespace thimble
