#include "thimble/text/unigram_tokenizer.h"

#include <gmock/gmock.h>

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TokenizerSpec UnigramSpec() {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kUnigram;
  spec.pieces = {"?", "▁", "▁go", "a", "fi", "n", "f", "i"};
  spec.scores = {0, -3, -2, -1, -1, -1, -1, -1};
  spec.unknown_id = 0;
  spec.reserved_ids = 1;
  spec.model_max_length = 4;
  return spec;
}

Encoding Encode(std::string_view text, const EncodeOptions& options = {}) {
  return *UnigramTokenizer::Create(UnigramSpec())->Encode(text, options);
}

TEST(UnigramTokenizer, MarksWordsAndPointsBack) {
  const Encoding e = Encode("go go");
  EXPECT_THAT(e.ids, ElementsAre(2, 2));
  EXPECT_THAT(e.offsets, ElementsAre(ByteRange{0, 2}, ByteRange{2, 5}));
  EXPECT_THAT(e.sequence, ElementsAre(0, 0));
  EXPECT_THAT(e.attention_mask, ElementsAre(1, 1));
  EXPECT_THAT(e.type_ids, ElementsAre(0, 0));
}

TEST(UnigramTokenizer, NormalizesFirst) {
  // Ligature fi, then an ideographic space, which becomes a space.
  const Encoding e = Encode("\uFB01n\u3000a");
  EXPECT_THAT(e.ids, ElementsAre(1, 4, 5, 1));
  EXPECT_THAT(e.offsets,
              ElementsAre(ByteRange{0, 0}, ByteRange{0, 3}, ByteRange{3, 4}, ByteRange{4, 7}));
  EXPECT_EQ(e.truncated_tokens, 1u);
}

TEST(UnigramTokenizer, CutsAndPads) {
  EXPECT_EQ(Encode("aaaaaa").ids.size(), 4u);
  EXPECT_EQ(Encode("aaaaaa").truncated_tokens, 3u);
  EXPECT_EQ(Encode("aaaaaa", {.truncation = Truncation::kNone}).ids.size(), 7u);
  EXPECT_THAT(Encode("aaaa", {.max_length = 2}).ids, ElementsAre(1, 3));
  const Encoding padded = Encode("a", {.pad_to = 4});
  EXPECT_THAT(padded.ids, ElementsAre(1, 3, 0, 0));
  EXPECT_THAT(padded.attention_mask, ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(padded.sequence, ElementsAre(0, 0, -1, -1));
  const auto refused = UnigramTokenizer::Create(UnigramSpec())
                           ->Encode("aaaaaa", {.truncation = Truncation::kOnlySecond});
  EXPECT_THAT(refused.error().message(), HasSubstr("second text"));
}

TEST(UnigramTokenizer, EmptyTextHasNoTokens) { EXPECT_TRUE(Encode("").ids.empty()); }

TEST(UnigramTokenizer, CountsWhatIsNotUtf8) {
  const Encoding e = Encode("a\xFF");
  EXPECT_THAT(e.ids, ElementsAre(1, 3, 0));
  EXPECT_EQ(e.invalid_bytes, 1u);
}

}  // namespace
}  // namespace thimble
