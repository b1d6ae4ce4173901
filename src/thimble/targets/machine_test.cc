#include "thimble/targets/machine.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

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

// Of a process that this one has not waited for yet.
TEST(Machine, KnowsTheLoadOfOthers) {
  const auto burn = [] {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(600);
    while (std::chrono::steady_clock::now() < end) {
    }
  };
  OtherLoad load;
  if (load.Processors() < 0) GTEST_SKIP() << "this system does not say how busy it is";
  const pid_t child = ::fork();
  if (child == 0) {
    burn();
    ::_exit(0);
  }
  burn();
  const double others = load.Processors();
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  // The child had a processor of its own or shared this one; what else runs here only adds.
  EXPECT_GT(others, 0.2);
}

}  // namespace
}  // namespace thimble
