#include "thimble/formats/huggingface/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thimble {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Pieces(std::string_view text) {
  const Result<std::vector<std::string>> pieces = ParseVocabulary(text);
  return pieces ? *pieces : std::vector<std::string>{pieces.error().message()};
}

TEST(Vocabulary, EndsOfLinesAsPythonReadsThem) {
  EXPECT_THAT(Pieces("a\n##b\nc\n"), ElementsAre("a", "##b", "c"));
  EXPECT_THAT(Pieces("a\n##b\nc"), ElementsAre("a", "##b", "c"));
  EXPECT_THAT(Pieces("a\r\n##b\r\nc\r\n"), ElementsAre("a", "##b", "c"));
  EXPECT_THAT(Pieces("a\rb\r"), ElementsAre("a", "b"));
  EXPECT_THAT(Pieces("a\u2028b\n \n"), ElementsAre("a\u2028b", " "));
}

TEST(Vocabulary, OfTwoEqualPiecesTheLastCounts) {
  EXPECT_THAT(Pieces("a\nb\na\na\n"), ElementsAre("[unreachable 0]", "b", "[unreachable 2]", "a"));
}

TEST(Vocabulary, EmptyLinesKeepTheirIds) {
  EXPECT_THAT(Pieces("a\n\nb\n\n"), ElementsAre("a", "[unreachable 1]", "b", "[unreachable 3]"));
}

TEST(Vocabulary, RefusesWhatIsNone) {
  EXPECT_THAT(Pieces(""), ElementsAre("has no pieces"));
  EXPECT_THAT(Pieces("\n\n"), ElementsAre("has no pieces"));
  EXPECT_THAT(Pieces("a\nb\xff\n"), ElementsAre("line 2 is not UTF-8"));
}

}  // namespace
}  // namespace thimble
