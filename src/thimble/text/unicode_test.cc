#include "thimble/text/unicode.h"

#include <gtest/gtest.h>

namespace thimble {
namespace {

constexpr char32_t kCodePoints = 0x110000;

bool IsSurrogate(char32_t c) { return c >= 0xD800 && c < 0xE000; }

class Fnv1a {
 public:
  void Add(uint32_t value) {
    for (int i = 0; i < 4; ++i, value >>= 8) hash_ = (hash_ ^ (value & 0xFF)) * 16777619u;
  }
  uint32_t hash() const { return hash_; }

 private:
  uint32_t hash_ = 2166136261u;
};

// tools/compare_tokenizers.mjs has found the tables that have these sums equal to the Rust library on every
// code point. A failure says that this machine's ICU made other tables than that.
TEST(Unicode, TablesAreThoseThatWereProved) {
  Fnv1a flags, decompositions, lower, classes;
  for (char32_t c = 0; c < kCodePoints; ++c) {
    if (IsSurrogate(c)) continue;
    flags.Add(FlagsOf(c));
    char32_t parts[4];
    const size_t count = Decompose(c, parts);
    for (size_t i = 0; i < count; ++i) decompositions.Add(parts[i]);
    for (const char32_t part : LowerCaseOf(c)) lower.Add(part);
    lower.Add(c);
    classes.Add(CombiningClassOf(c));
  }
  EXPECT_EQ(flags.hash(), 3587104268u);
  EXPECT_EQ(decompositions.hash(), 983425954u);
  EXPECT_EQ(lower.hash(), 868049844u);
  EXPECT_EQ(classes.hash(), 3195926945u);
}

TEST(Unicode, FlagsAgreeWithTheMappings) {
  for (char32_t c = 0; c < kCodePoints; ++c) {
    if (IsSurrogate(c)) continue;
    char32_t parts[4];
    const size_t count = Decompose(c, parts);
    const bool normalizes = count != 1 || parts[0] != c || CombiningClassOf(c) != 0;
    ASSERT_EQ(HasFlag(c, UnicodeFlags::kNormalizes), normalizes) << static_cast<uint32_t>(c);
    ASSERT_EQ(HasFlag(c, UnicodeFlags::kHasLowerCase), LowerCaseOf(c).count != 0);
  }
}

TEST(Unicode, KnownCharacters) {
  EXPECT_TRUE(HasFlag(U'\u3000', UnicodeFlags::kWhiteSpace));
  EXPECT_TRUE(HasFlag(U'\u0301', UnicodeFlags::kNonSpacingMark));
  EXPECT_TRUE(HasFlag(U'$', UnicodeFlags::kPunctuation));
  EXPECT_FALSE(HasFlag(U'\u20AC', UnicodeFlags::kPunctuation));  // a symbol beyond ASCII
  EXPECT_TRUE(HasFlag(U'\u4E2D', UnicodeFlags::kIdeograph));
  EXPECT_EQ(LowerCaseOf(U'\u0130').count, 2u);  // i and a dot above
  char32_t parts[4];
  ASSERT_EQ(Decompose(U'\u1EA5', parts), 3u);
  EXPECT_EQ(parts[0], U'a');
  ASSERT_EQ(Decompose(U'\uAC01', parts), 3u);
  EXPECT_EQ(parts[2], U'\u11A8');
}

}  // namespace
}  // namespace thimble
