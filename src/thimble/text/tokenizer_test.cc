#include "thimble/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace thimble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

enum Id : int32_t { kPad, kUnk, kCls, kSep, kMask, kCafe, kI, kDot, kA, kMoreA, kZhong, kComma };

TokenizerSpec Spec() {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWordPiece;
  spec.pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cafe",
                 "i",     ".",     "a",     "##a",   "中",     ","};
  spec.pad_id = kPad, spec.unknown_id = kUnk, spec.cls_id = kCls, spec.sep_id = kSep;
  spec.mask_id = kMask;
  spec.added_tokens = {{.id = kMask, .text = "[MASK]", .special = true}};
  return spec;
}

Tokenizer Make(TokenizerSpec spec = Spec()) {
  auto tokenizer = Tokenizer::Create(std::move(spec));
  EXPECT_TRUE(tokenizer.has_value());
  return *std::move(tokenizer);
}

std::vector<ByteRange> Ranges(const Encoding& e) {
  return {e.offsets.begin() + 1, e.offsets.end() - 1};
}

TEST(Tokenizer, OffsetsPointIntoTheInputAsItWasGiven) {
  const std::string text = "Caf\u00e9 \u4e2d\u4e2d, [MASK]a\u0301A";
  const auto e = Make().Encode(text);
  ASSERT_TRUE(e.has_value());
  EXPECT_THAT(e->ids, ElementsAre(kCls, kCafe, kZhong, kZhong, kComma, kMask, kA, kMoreA, kSep));
  EXPECT_THAT(Ranges(*e),
              ElementsAre(ByteRange{0, 5}, ByteRange{6, 9}, ByteRange{9, 12}, ByteRange{12, 13},
                          ByteRange{14, 20}, ByteRange{20, 21}, ByteRange{23, 24}));
}

TEST(Tokenizer, DroppedCharactersLeaveGapsInOffsets) {
  const auto e =
      Make().Encode(std::string("a\x01"
                                "a\0a",
                                5));
  ASSERT_TRUE(e.has_value());
  EXPECT_THAT(e->ids, ElementsAre(kCls, kA, kMoreA, kMoreA, kSep));
  EXPECT_THAT(Ranges(*e), ElementsAre(ByteRange{0, 1}, ByteRange{2, 3}, ByteRange{4, 5}));
}

TEST(Tokenizer, InvalidUtf8IsCountedAndReadAsReplacement) {
  const auto e = Make().Encode("a\xFF \xE4\xB8 \xF0\x9F\x98");  // cleaning drops U+FFFD
  ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->invalid_bytes, 6u);
  EXPECT_THAT(e->ids, ElementsAre(kCls, kA, kSep));
}

TEST(Tokenizer, EmptyAndBlankTextsAreTheSpecialTokens) {
  for (const char* text : {"", "  \t\n", "\u200b\x01"}) {
    const auto e = Make().Encode(text);
    ASSERT_TRUE(e.has_value());
    EXPECT_THAT(e->ids, ElementsAre(kCls, kSep));
  }
}

TEST(Tokenizer, TruncationKeepsTheLengthAndCountsWhatIsLost) {
  const auto e = Make().Encode("a a a a a", {.max_length = 4, .pad_to = 6});
  ASSERT_TRUE(e.has_value());
  EXPECT_THAT(e->ids, ElementsAre(kCls, kA, kA, kSep, kPad, kPad));
  EXPECT_THAT(e->attention_mask, ElementsAre(1, 1, 1, 1, 0, 0));
  EXPECT_EQ(e->truncated_tokens, 3u);
  EXPECT_FALSE(Make().Encode("a", {.max_length = 1}).has_value());
}

// On a tie the second text keeps the odd token. The library reads each text only up to the word that fills
// max_length, so two longer texts are equally long to it.
TEST(Tokenizer, LongestFirstSeesTextsOnlyUpToTheLimit) {
  const auto counts = [](std::string_view first, std::string_view second, size_t max_length) {
    const auto e = Make().EncodePair(first, second, {.max_length = max_length});
    EXPECT_TRUE(e.has_value());
    return std::pair(std::count(e->sequence.begin(), e->sequence.end(), 0),
                     std::count(e->sequence.begin(), e->sequence.end(), 1));
  };
  EXPECT_EQ(counts("a a a", "a a", 7), (std::pair<long, long>(2, 2)));
  EXPECT_EQ(counts("a a a a", "a a a", 8), (std::pair<long, long>(3, 2)));
  EXPECT_EQ(counts("a a a a", "a a a a", 8), (std::pair<long, long>(2, 3)));
  EXPECT_EQ(counts("a a a a a a a a a a a a", "a a a a a a a a", 8), (std::pair<long, long>(2, 3)));
  EXPECT_EQ(counts("a a a a a a aaaaa", "a a a a a a a a", 8), (std::pair<long, long>(3, 2)));
}

TEST(Tokenizer, WindowsOverlapByTheStrideAndCoverTheContext) {
  const auto windows =
      Make().EncodeWindows("i", "a a a a a a a", 8, 2);  // 4 of the context in each
  ASSERT_TRUE(windows.has_value());
  ASSERT_EQ(windows->size(), 3u);
  EXPECT_THAT((*windows)[0].ids, ElementsAre(kCls, kI, kSep, kA, kA, kA, kA, kSep));
  EXPECT_EQ((*windows)[1].offsets[3], (ByteRange{4, 5}));
  EXPECT_EQ((*windows)[2].ids.size(), 7u);
  EXPECT_EQ(Make().EncodeWindows("i", "a", 8, 6)->size(), 1u);  // one window needs no overlap
  EXPECT_FALSE(Make().EncodeWindows("i", "a a a a a", 8, 6).has_value());
}

TEST(Tokenizer, ALongWordIsUnknown) {
  EXPECT_EQ(Make().Encode(std::string(100, 'a'))->ids.size(), 102u);
  EXPECT_THAT(Make().Encode(std::string(101, 'a'))->ids, ElementsAre(kCls, kUnk, kSep));
}

TEST(Tokenizer, RefusesWhatCannotWork) {
  TokenizerSpec no_pieces = Spec();
  no_pieces.pieces.clear();
  EXPECT_FALSE(Tokenizer::Create(no_pieces).has_value());
  TokenizerSpec no_unknown = Spec();
  no_unknown.unknown_id = -1;
  EXPECT_THAT(Tokenizer::Create(no_unknown).error().message(), HasSubstr("unknown"));
  TokenizerSpec far = Spec();
  far.sep_id = 12;
  EXPECT_THAT(Tokenizer::Create(far).error().message(), HasSubstr("12"));
}

// A megabyte of what costs most takes time in proportion: seconds would mean squares.
TEST(Tokenizer, LongInputsTakeLinearTime) {
  const Tokenizer tokenizer = Make();
  for (const std::string unit :
       {"a", "\u0130", "\u0301", "a\u0323\u0301", "[MASK", "\u4e2d", "\xff", " "}) {
    std::string text;
    while (text.size() < (size_t{1} << 20)) text += unit;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(tokenizer.Encode(text).has_value());
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10)) << unit;
  }
}

}  // namespace
}  // namespace thimble
