#include "thimble/formats/thimble/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace thimble {
namespace {

uint32_t Of(const std::string& text, uint32_t before = 0) {
  return Crc32c(std::as_bytes(std::span(text)), before);
}

TEST(Crc32c, GivesThePublishedValues) {  // RFC 3720, B.4
  EXPECT_EQ(Of("123456789"), 0xE3069283u);
  EXPECT_EQ(Of(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Of(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(Of(""), 0u);
}

TEST(Crc32c, ContinuesAtEverySplit) {
  const std::string text = "the quick brown fox jumps over the lazy dog";
  for (size_t i = 0; i <= text.size(); ++i) {
    EXPECT_EQ(Of(text.substr(i), Of(text.substr(0, i))), Of(text)) << i;
  }
}

}  // namespace
}  // namespace thimble
