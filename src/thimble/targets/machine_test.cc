#include "thimble/targets/machine.h"

#include <gtest/gtest.h>

#include "thimble/runtime/kernels/kernels.h"

namespace thimble {
namespace {

TEST(Machine, EveryInstructionSetHasAFloatPeak) {
  for (const Kernels* kernels : AvailableKernels()) {
    EXPECT_GT(MeasureMultiplyPeak(MultiplyKind::kFloat32, kernels->name, 1, 0.01), 0)
        << kernels->name;
  }
}

TEST(Machine, UnknownInstructionSetsHaveNone) {
  EXPECT_EQ(MeasureMultiplyPeak(MultiplyKind::kFloat32, "abacus", 1, 0.01), 0);
}

TEST(Machine, KnowsItself) {
  EXPECT_FALSE(ProcessorName().empty());
  EXPECT_GT(PeakResidentBytes(), 1u << 16);
}

}  // namespace
}  // namespace thimble
