#include "thimble/text/nfkc.h"

#include <gmock/gmock.h>
#include <unicode/unorm2.h>

#include <random>

#include "thimble/text/utf8.h"

namespace thimble {
namespace {

using testing::ElementsAre;

// ICU's answer, the oracle.
std::string Oracle(const std::u32string& text) {
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2* nfkc = unorm2_getNFKCInstance(&error);
  std::u16string in;
  for (const char32_t c : text) {
    if (c < 0x10000) {
      in += static_cast<char16_t>(c);
    } else {
      in += static_cast<char16_t>(0xD7C0 + (c >> 10));
      in += static_cast<char16_t>(0xDC00 + (c & 0x3FF));
    }
  }
  std::u16string out(in.size() * 18 + 1, u'\0');
  const int32_t size = unorm2_normalize(nfkc, in.data(), static_cast<int32_t>(in.size()),
                                        out.data(), static_cast<int32_t>(out.size()), &error);
  EXPECT_TRUE(U_SUCCESS(error));
  std::string utf8;
  for (int32_t i = 0; i < size; ++i) {
    char32_t c = out[static_cast<size_t>(i)];
    if (c >= 0xD800 && c < 0xDC00)
      c = ((c - 0xD7C0) << 10) + (out[static_cast<size_t>(++i)] - 0xDC00);
    AppendUtf8(c, utf8);
  }
  return utf8;
}

std::string Utf8(const std::u32string& text) {
  std::string out;
  for (const char32_t c : text) AppendUtf8(c, out);
  return out;
}

TEST(Nfkc, EveryCharacterAloneAndBesideMarksEqualsIcu) {
  for (char32_t c = 1; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    for (const std::u32string& text :
         {std::u32string{c}, std::u32string{U'a', c, U'\u0301', U'\u0323'}}) {
      ASSERT_EQ(NormalizeNfkc(Utf8(text)).text, Oracle(text))
          << std::hex << static_cast<uint32_t>(c);
    }
  }
}

TEST(Nfkc, RandomMixturesEqualIcu) {
  // Blocks where something happens: Latin with marks, Greek, Hebrew, Indic vowel signs, Hangul,
  // kana with voicing marks, forms for compatibility, musical symbols.
  constexpr std::pair<char32_t, char32_t> kBlocks[] = {
      {0x20, 0x7F},     {0xA0, 0x17F},    {0x300, 0x36F},     {0x370, 0x3FF},    {0x591, 0x5F4},
      {0x900, 0x97F},   {0x9BE, 0x9D7},   {0x1100, 0x11FF},   {0x1E00, 0x1FFF},  {0x2000, 0x206F},
      {0x3040, 0x30FF}, {0x3300, 0x33FF}, {0xAC00, 0xAC40},   {0xD7A0, 0xD7FB},  {0xF900, 0xF940},
      {0xFB00, 0xFDFF}, {0xFE30, 0xFFEF}, {0x11090, 0x110C0}, {0x1D150, 0x1D200}};
  std::mt19937 random(1);
  for (int round = 0; round < 100000; ++round) {
    std::u32string text;
    for (int i = 0; i < 8; ++i) {
      const auto& [first, last] = kBlocks[random() % std::size(kBlocks)];
      text += first + static_cast<char32_t>(random() % (last - first + 1));
    }
    const NormalizedText got = NormalizeNfkc(Utf8(text));
    ASSERT_EQ(got.text, Oracle(text)) << round;
    ASSERT_EQ(got.source.size(), got.text.size());
  }
}

TEST(Nfkc, SourcesPointIntoTheInput) {
  //  "x", ligature fi, "e" with a mark, fullwidth space
  const NormalizedText got = NormalizeNfkc("x\uFB01e\u0301\u3000");
  EXPECT_EQ(got.text, "xfi\u00e9 ");
  EXPECT_THAT(got.source, ElementsAre(ByteRange{0, 1}, ByteRange{1, 4}, ByteRange{1, 4},
                                      ByteRange{4, 7}, ByteRange{4, 7}, ByteRange{7, 10}));
}

TEST(Nfkc, ReadsWhatIsNotUtf8AsReplacementCharacters) {
  const NormalizedText got = NormalizeNfkc("a\xE2\x82z\xFF\xED\xA0\x80");
  EXPECT_EQ(got.text, "a\uFFFDz\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(got.invalid_bytes, 6u);
}

TEST(Nfkc, ManyMarksTakeNoLongerThanSortingThem) {
  std::string text = "a";
  for (int i = 0; i < 200000; ++i) text += i % 2 == 0 ? "\u0301" : "\u0323";
  // One dot composes with the letter (U+1EA1, three bytes), nothing else changes but the order.
  EXPECT_EQ(NormalizeNfkc(text).text.size(), text.size());
}

}  // namespace
}  // namespace thimble
