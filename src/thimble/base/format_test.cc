#include "thimble/base/format.h"

#include <gtest/gtest.h>

namespace thimble {
namespace {

TEST(FormatNumber, FollowsTheFormatAndIsNeverLongerThanItSays) {
  EXPECT_EQ(FormatNumber("%.2fx", 1.5), "1.50x");
  EXPECT_EQ(FormatNumber("%g ms", 3), "3 ms");
  EXPECT_EQ(FormatNumber("%100.1f", 1).size(), 63u);
}

}  // namespace
}  // namespace thimble
