#include "thimble/cli/console.h"

#include <gtest/gtest.h>

namespace thimble::cli {
namespace {

TEST(BytesText, KeepsThreeDigits) {
  EXPECT_EQ(BytesText(0), "0 B");
  EXPECT_EQ(BytesText(1023), "1023 B");
  EXPECT_EQ(BytesText(1024), "1.00 KiB");
  EXPECT_EQ(BytesText(25.25 * 1024 * 1024), "25.2 MiB");
  EXPECT_EQ(BytesText(300.0 * 1024 * 1024), "300 MiB");
  EXPECT_EQ(BytesText(5e18), "4547474 TiB");
}

TEST(CountText, KeepsThreeDigits) {
  EXPECT_EQ(CountText(512), "512");
  EXPECT_EQ(CountText(24581888), "24.6 M");
  EXPECT_EQ(CountText(5.31e9), "5.31 G");
}

TEST(PrintError, KeepsOneLineWhateverTheMessageHolds) {
  ::testing::internal::CaptureStderr();
  PrintError(InvalidData("a\nb\x1b[31m"));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "thimble: a b [31m\n");
}

TEST(Progress, IsSilentWhereNobodyLooks) {
  ::testing::internal::CaptureStderr();  // a file, not a terminal
  {
    Progress progress("reading", 10);
    progress.Update(5);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace thimble::cli
