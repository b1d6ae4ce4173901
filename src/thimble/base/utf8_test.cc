#include "thimble/base/utf8.h"

#include <gtest/gtest.h>

namespace thimble {
namespace {

TEST(Utf8, AcceptsTheEndsOfEveryRange) {
  for (const char* text :
       {"\x01", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(Utf8SequenceLength(text), std::string_view(text).size());
  }
}

TEST(Utf8, RefusesWhatLiesJustOutside) {
  for (const char* text : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
                           "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
                           "\xc2", "\xe1\x80", "\xf1\x80\x80", "\xc2\x41"}) {
    EXPECT_EQ(Utf8SequenceLength(text), 0u);
    EXPECT_FALSE(IsUtf8(text));
  }
  EXPECT_EQ(Utf8SequenceLength(""), 0u);
}

TEST(Utf8, WholeTexts) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("caf\u00e9 \u4e2d \U0001F600"));
  EXPECT_FALSE(IsUtf8("caf\xe9"));
}

}  // namespace
}  // namespace thimble
