#include "thimble/text/wordpiece_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/text/tokenizer.h"

namespace thimble {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TrainedVocabulary Train(std::vector<std::string> lines, WordPieceTrainerOptions options) {
  WordPieceTrainer trainer(std::move(options));
  for (const std::string& line : lines) trainer.Add(line);
  Result<TrainedVocabulary> vocabulary = trainer.Train();
  if (vocabulary.has_value()) return *std::move(vocabulary);
  ADD_FAILURE() << vocabulary.error().message();
  return {};
}

TEST(WordPieceTrainer, ByHand) {
  // hug 10, pug 5, pun 12, bun 4, hugs 5: the merges of the textbook example. Pairs: ##u ##g 20, ##u ##n 16,
  // h ##u 15, p ##u 17, b ##u 4, ##g ##s 5.
  std::vector<std::string> lines;
  for (const auto& [word, count] : std::vector<std::pair<std::string, int>>{
           {"hug", 10}, {"pug", 5}, {"pun", 12}, {"bun", 4}, {"hugs", 5}}) {
    for (int i = 0; i < count; ++i) lines.push_back(word);
  }
  const TrainedVocabulary v = Train(lines, {.vocabulary_size = 18, .special_tokens = {"[UNK]"}});
  // Then ##u ##n 16, h ##ug 15, p ##un 12; of hug ##s 5 and p ##ug 5 the latter has the older ids.
  EXPECT_THAT(v.pieces, ElementsAre("[UNK]", "b", "g", "h", "n", "p", "s", "u", "##g", "##n", "##s",
                                    "##u", "##ug", "##un", "hug", "pun", "pug", "hugs"));
  EXPECT_EQ(v.alphabet, 7u);
  EXPECT_EQ(v.words, 36u);
  EXPECT_EQ(v.distinct_words, 5u);
}

TEST(WordPieceTrainer, RunsOfOneCharacter) {
  const TrainedVocabulary v =
      Train({"aaaaa aaaaa", "aaa aaa"}, {.vocabulary_size = 100, .special_tokens = {}});
  EXPECT_THAT(v.pieces, ElementsAre("a", "##a", "##aa", "aaa", "aaaaa"));
}

TEST(WordPieceTrainer, EqualPairsInTheOrderOfTheirIds) {
  const TrainedVocabulary v =
      Train({"cd ab cd ab"}, {.vocabulary_size = 100, .special_tokens = {}});
  EXPECT_THAT(v.pieces, ElementsAre("a", "b", "c", "d", "##b", "##d", "ab", "cd"));
  EXPECT_EQ(v.pieces,
            Train({"ab cd", "ab cd"}, {.vocabulary_size = 100, .special_tokens = {}}).pieces);
}

TEST(WordPieceTrainer, NormalizesAsTheTokenizer) {
  const TrainedVocabulary v = Train({"Crème, CREME! 東京", "crème creme"}, {.vocabulary_size = 60});
  EXPECT_THAT(v.pieces, Contains("creme"));
  EXPECT_THAT(v.pieces, Contains("東"));
  EXPECT_THAT(v.pieces, Contains(","));
  EXPECT_THAT(v.pieces, Not(Contains("è")));
  const TrainedVocabulary cased =
      Train({"Crème Crème"}, {.vocabulary_size = 60, .lower_case = false});
  EXPECT_THAT(cased.pieces, Contains("Crème"));
}

TEST(WordPieceTrainer, TheTokenizerKnowsEveryWord) {
  const std::vector<std::string> lines = {
      "Fit transformers in a thimble: small transformers on edge devices.",
      "वह घर जाता है, and \"naïve\" café owners' 3.14 + x_y", "ABRACADABRA abracadabra"};
  const TrainedVocabulary v = Train(lines, {.vocabulary_size = 200});
  TokenizerSpec spec{.kind = TokenizerKind::kWordPiece, .pieces = v.pieces};
  spec.unknown_id = 1;
  spec.cls_id = 2;
  spec.sep_id = 3;
  const Result<Tokenizer> tokenizer = Tokenizer::Create(std::move(spec));
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().message();
  for (const std::string& line : lines) {
    const auto encoding = tokenizer->Encode(line);
    ASSERT_TRUE(encoding.has_value());
    EXPECT_THAT(encoding->ids, Not(Contains(1))) << line;
  }
}

TEST(WordPieceTrainer, MinFrequencyStopsIt) {
  const TrainedVocabulary v =
      Train({"ab ab ab cd"}, {.vocabulary_size = 100, .min_frequency = 3, .special_tokens = {}});
  EXPECT_THAT(v.pieces, ElementsAre("a", "b", "c", "d", "##b", "##d", "ab"));
}

TEST(WordPieceTrainer, RareCharactersAreLeftOut) {
  const TrainedVocabulary v =
      Train({"ab ab ab az q"}, {.vocabulary_size = 100, .max_alphabet = 2, .special_tokens = {}});
  EXPECT_THAT(v.pieces, ElementsAre("a", "b", "##b", "ab"));
  EXPECT_EQ(v.characters, 4u);
  EXPECT_EQ(v.words_left_out, 2u);
}

TEST(WordPieceTrainer, LongWordsAreNotLearned) {
  const TrainedVocabulary v = Train({std::string(101, 'x') + " ab ab"}, {.vocabulary_size = 100});
  EXPECT_THAT(v.pieces, Not(Contains("x")));
  EXPECT_EQ(v.words_left_out, 1u);
}

TEST(WordPieceTrainer, WhatCannotBeTrained) {
  WordPieceTrainer empty({});
  empty.Add(" \t ");
  EXPECT_THAT(empty.Train().error().message(), HasSubstr("the text has no words"));
  WordPieceTrainer small({.vocabulary_size = 9});
  small.Add("abc");
  EXPECT_THAT(
      small.Train().error().message(),
      HasSubstr(
          "no room for the special tokens and the 3 characters of the alphabet, which take 10"));
  WordPieceTrainer stopped({.vocabulary_size = 1000, .min_frequency = 1});
  for (int i = 0; i < 400; ++i) stopped.Add("word" + std::to_string(i * 7919));
  const auto result =
      stopped.Train([](size_t) -> Status { return Error(ErrorCode::kInterrupted, "stopped"); });
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), ErrorCode::kInterrupted);
}

}  // namespace
}  // namespace thimble
