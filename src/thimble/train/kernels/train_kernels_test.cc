// The choice among tables.
#include <cstdlib>
#include <set>

#include "thimble/train/kernels/test_support.h"

namespace thimble {
namespace {

TEST(TrainKernels, EndWithScalar) {
  ASSERT_FALSE(AvailableTrainKernels().empty());
  EXPECT_EQ(AvailableTrainKernels().back()->name, "scalar");
  EXPECT_TRUE(AvailableTrainKernels().back()->fused);
}

TEST(TrainKernels, AnswerToEveryNameOfTheRuntime) {
  for (const Kernels* table : AvailableKernels()) {
    const TrainKernels* found = FindTrainKernels(table->name);
    ASSERT_NE(found, nullptr) << table->name;
    EXPECT_TRUE(table->name.starts_with(found->name)) << table->name;
    EXPECT_EQ(table->fused, found->fused) << table->name;
  }
  EXPECT_EQ(FindTrainKernels("vax"), nullptr);
}

TEST(TrainKernels, AreFoundByTheirNames) {
  std::set<std::string_view> names;
  for (const TrainKernels* table : AvailableTrainKernels()) {
    EXPECT_TRUE(names.insert(table->name).second) << table->name;
    EXPECT_EQ(FindTrainKernels(table->name), table);
  }
}

TEST(TrainKernels, FollowTheEnvironment) {
  ASSERT_EQ(setenv("THIMBLE_ISA", "scalar", 1), 0);
  EXPECT_EQ(BestTrainKernels().name, "scalar");
  ASSERT_EQ(setenv("THIMBLE_ISA", "vax", 1), 0);  // not one of ours: as if unset
  EXPECT_EQ(&BestTrainKernels(), AvailableTrainKernels().front());
  ASSERT_EQ(unsetenv("THIMBLE_ISA"), 0);
  EXPECT_EQ(&BestTrainKernels(), AvailableTrainKernels().front());
}

}  // namespace
}  // namespace thimble
