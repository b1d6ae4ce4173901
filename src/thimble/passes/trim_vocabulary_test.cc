#include "thimble/passes/trim_vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TokenizerSpec Spec() {
  TokenizerSpec t;
  t.kind = TokenizerKind::kWordPiece;
  t.pieces = {"[PAD]",
              "[UNK]",
              "[CLS]",
              "[SEP]",
              "[MASK]",
              "a",
              "b",
              "##a",
              "##b",
              "ab",
              "##ab",
              "abba",
              "ba",
              "##ba",
              "\xC3\xA9"
              "a",
              "bab"};
  t.pad_id = 0, t.unknown_id = 1, t.cls_id = 2, t.sep_id = 3, t.mask_id = 4;
  return t;
}

std::vector<int32_t> Ids(const TokenizerSpec& spec, const std::string& text) {
  return Tokenizer::Create(spec)->Encode(text)->ids;
}

// ids -> table -> logits over the vocabulary, tied, with a bias.
Graph MaskedLm(int64_t rows) {
  std::vector<float> table(static_cast<size_t>(rows * 3)), bias(static_cast<size_t>(rows));
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 7) - 3;
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i);
  const Tensor words = Tensor::FromFloats({rows, 3}, table);
  Builder b;
  const ValueId x =
      b.Add(OpKind::kEmbedding, "words", {b.Input(kInputIds)}, {{"words.weight", words}});
  b.Output("last_hidden_state", x);
  b.Output("logits",
           b.Add(OpKind::kLinear, "decoder", {x},
                 {{"words.weight", words}, {"decoder.bias", Tensor::FromFloats({rows}, bias)}}));
  return *std::move(b).Finish(8);
}

std::vector<float> Logits(const Graph& graph, const std::vector<int32_t>& ids) {
  const std::vector<int32_t> offsets = {0, static_cast<int32_t>(ids.size())};
  const std::span<const int32_t> inputs[] = {ids};
  const std::string_view wanted[] = {"logits"};
  return (*RunReference(graph, {offsets, {}}, inputs, wanted))[0].floats;
}

TEST(PiecesToKeep, KeepsWhatIsUsedAndWhatSpellsTheRest) {
  std::vector<double> counts(16, 0.0);
  counts[9] = 3;   // "ab"
  counts[11] = 1;  // "abba"
  const Result<std::vector<int32_t>> kept = PiecesToKeep(Spec(), counts, 2);
  ASSERT_TRUE(kept.has_value());
  // Specials, single characters, "ab", and the only piece that has an e with an accent.
  EXPECT_THAT(*kept, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14));
}

TEST(PiecesToKeep, NoWordBecomesUnknown) {
  const TokenizerSpec spec = Spec();
  const Result<std::vector<int32_t>> kept = PiecesToKeep(spec, {}, 1);
  ASSERT_TRUE(kept.has_value());
  const Result<Trimmed> trimmed = TrimVocabulary(MaskedLm(16), spec, *kept);
  ASSERT_TRUE(trimmed.has_value()) << trimmed.error().message();
  for (const std::string word : {"a", "ba", "abba", "babab", "aabb", "bbbaaabab"}) {
    const std::vector<int32_t> before = Ids(spec, word), after = Ids(trimmed->tokenizer, word);
    EXPECT_EQ(std::count(before.begin(), before.end(), spec.unknown_id), 0) << word;
    EXPECT_EQ(std::count(after.begin(), after.end(), trimmed->tokenizer.unknown_id), 0) << word;
  }
}

TEST(TrimVocabulary, TextsOfKeptPiecesGetTheSameValues) {
  const TokenizerSpec spec = Spec();
  const Graph graph = MaskedLm(16);
  const std::vector<int32_t> kept = {0, 1, 2, 3, 4, 5, 7, 8, 10, 11};
  const Result<Trimmed> trimmed = TrimVocabulary(graph, spec, kept);
  ASSERT_TRUE(trimmed.has_value()) << trimmed.error().message();
  const std::string text = "abba aab a";
  const std::vector<int32_t> before = Ids(spec, text), after = Ids(trimmed->tokenizer, text);
  ASSERT_EQ(before.size(), after.size());
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(trimmed->tokenizer.pieces[static_cast<size_t>(after[i])],
              spec.pieces[static_cast<size_t>(before[i])]);
  }
  const std::vector<float> whole = Logits(graph, before), small = Logits(trimmed->graph, after);
  ASSERT_EQ(small.size(), after.size() * kept.size());
  for (size_t t = 0; t < after.size(); ++t) {
    for (size_t k = 0; k < kept.size(); ++k) {
      EXPECT_EQ(small[t * kept.size() + k], whole[t * 16 + static_cast<size_t>(kept[k])]);
    }
  }
  // Still one table for both.
  EXPECT_TRUE(
      trimmed->graph.nodes[0].weights[0].tensor.SameAs(trimmed->graph.nodes[1].weights[0].tensor));
}

TEST(TrimVocabulary, SaysWhatIsWrong) {
  const auto error = [](const std::vector<int32_t>& kept, int64_t rows = 16) {
    const Result<Trimmed> trimmed = TrimVocabulary(MaskedLm(rows), Spec(), kept);
    return trimmed.has_value() ? "no error" : trimmed.error().message();
  };
  EXPECT_THAT(error({0, 1, 2, 3, 5}), HasSubstr("has to stay"));
  EXPECT_THAT(error({0, 1, 2, 3, 4, 4}), HasSubstr("rising"));
  EXPECT_THAT(error({0, 1, 2, 3, 4, 16}), HasSubstr("below 16"));
  EXPECT_THAT(error({0, 1, 2, 3, 4}, 9), HasSubstr("row per piece"));
  TokenizerSpec added = Spec();
  added.added_tokens = {{.id = 16, .text = "<extra>"}};
  EXPECT_THAT(TrimVocabulary(MaskedLm(17), added, {0, 1, 2, 3, 4}).error().message(),
              HasSubstr("id 16 has no piece"));
  TokenizerSpec unigram = Spec();
  unigram.kind = TokenizerKind::kUnigram;
  EXPECT_THAT(PiecesToKeep(unigram, {}, 1).error().message(), HasSubstr("WordPiece"));
}

}  // namespace
}  // namespace thimble
