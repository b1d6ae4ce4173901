// The choice among tables.
#include "thimble/runtime/kernels/kernels.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

namespace thimble {
namespace {

TEST(Kernels, EndWithScalar) {
  ASSERT_FALSE(AvailableKernels().empty());
  EXPECT_EQ(AvailableKernels().back()->name, "scalar");
  EXPECT_TRUE(AvailableKernels().back()->fused);
}

TEST(Kernels, AreFoundByTheirNames) {
  std::set<std::string_view> names;
  for (const Kernels* table : AvailableKernels()) {
    EXPECT_TRUE(names.insert(table->name).second) << table->name;
    EXPECT_EQ(FindKernels(table->name), table);
  }
  EXPECT_EQ(FindKernels("vax"), nullptr);
}

TEST(Kernels, FollowTheEnvironment) {
  ASSERT_EQ(setenv("THIMBLE_ISA", "scalar", 1), 0);
  EXPECT_EQ(BestKernels().name, "scalar");
  ASSERT_EQ(setenv("THIMBLE_ISA", "vax", 1), 0);  // not one of ours: as if unset
  EXPECT_EQ(&BestKernels(), AvailableKernels().front());
  ASSERT_EQ(unsetenv("THIMBLE_ISA"), 0);
  EXPECT_EQ(&BestKernels(), AvailableKernels().front());
}

}  // namespace
}  // namespace thimble
