#include "thimble/base/format.h"

#include <gtest/gtest.h>

#include <string>

namespace thimble {
namespace {

TEST(FormatNumber, FollowsTheFormatAndIsNeverLongerThanItSays) {
  EXPECT_EQ(FormatNumber("%.2fx", 1.5), "1.50x");
  EXPECT_EQ(FormatNumber("%g ms", 3), "3 ms");
  EXPECT_EQ(FormatNumber("%100.1f", 1).size(), 63u);
}

TEST(ShortestNumber, ReadsBack) {
  EXPECT_EQ(ShortestNumber(0.1), "0.1");
  EXPECT_EQ(ShortestNumber(1e-12), "1e-12");
  EXPECT_EQ(ShortestNumber(-3), "-3");
  EXPECT_EQ(std::stod(ShortestNumber(1.0 / 3)), 1.0 / 3);
}

}  // namespace
}  // namespace thimble
