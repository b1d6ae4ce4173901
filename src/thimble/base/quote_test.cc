#include "thimble/base/quote.h"

#include <gtest/gtest.h>

namespace thimble {
namespace {

TEST(Quote, OrdinaryTextStaysReadable) {
  EXPECT_EQ(Quoted("bert.encoder.layer.0"), "\"bert.encoder.layer.0\"");
  EXPECT_EQ(Quoted(""), "\"\"");
  EXPECT_EQ(Quoted("caf\u00e9 \u4e2d \U0001F600"), "\"caf\u00e9 \u4e2d \U0001F600\"");
}

TEST(Quote, StaysOnOneLine) {
  EXPECT_EQ(Quoted("a\nb\x1b[31m"), "\"a\\x0ab\\x1b[31m\"");
  EXPECT_EQ(Quoted("\u009b"), "\"\\xc2\\x9b\"");
  EXPECT_EQ(Quoted("say \"\\\""), "\"say \\\"\\\\\\\"\"");
}

TEST(Quote, BytesThatAreNotUtf8AreShownAsBytes) {
  EXPECT_EQ(Quoted("\xff\xc3"), "\"\\xff\\xc3\"");
  EXPECT_EQ(Quoted("\xc0\x80"), "\"\\xc0\\x80\"");           // overlong
  EXPECT_EQ(Quoted("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"");  // surrogate
}

TEST(Quote, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(Quoted("abcdef", 3), "\"abc...\"");
  EXPECT_EQ(Quoted("ab\u4e2d", 4), "\"ab...\"");
  EXPECT_EQ(Quoted("abc", 3), "\"abc\"");
}

}  // namespace
}  // namespace thimble
