#include "thimble/metrics/squad.h"

#include <gtest/gtest.h>

#include <vector>

namespace thimble {
namespace {

std::vector<AnswerText> Gold(std::initializer_list<const char*> texts) {
  std::vector<AnswerText> gold;
  for (const char* text : texts) gold.push_back({.text = text});
  return gold;
}

// As the published evaluation script normalizes them.
TEST(NormalizeAnswer, CasePunctuationArticlesBlanks) {
  EXPECT_EQ(NormalizeAnswer("The  Cat, an\ta dog's!"), "cat dogs");
  EXPECT_EQ(NormalizeAnswer("a-b"), "ab");
  EXPECT_EQ(NormalizeAnswer("theatre an-other the"), "theatre another");
  EXPECT_EQ(NormalizeAnswer("$1,000.50"), "100050");
  EXPECT_EQ(NormalizeAnswer("ÉCOLE Ωmega"), "école ωmega");
  EXPECT_EQ(NormalizeAnswer("the"), "");
  EXPECT_EQ(NormalizeAnswer(""), "");
  // What is not ASCII punctuation stays, and ends a word for the articles.
  EXPECT_EQ(NormalizeAnswer("the–cat “a”"), "–cat “ ”");
  EXPECT_EQ(NormalizeAnswer("x\u00a0y"), "x y");
}

TEST(ExactMatch, BestOfTheGoldAnswers) {
  EXPECT_EQ(ExactMatch("the Rome", Gold({"Paris", "Rome."})), 1);
  EXPECT_EQ(ExactMatch("in Rome", Gold({"Paris", "Rome"})), 0);
  EXPECT_EQ(ExactMatch("", {}), 1);
  EXPECT_EQ(ExactMatch("Rome", {}), 0);
  EXPECT_EQ(ExactMatch("the", Gold({"a", "Rome"})), 0);  // a gold answer of articles says nothing
  EXPECT_EQ(ExactMatch("the", Gold({"a"})), 1);
}

TEST(AnswerF1, SharedWords) {
  // 2 words of 3 shared with 2 of 2: P = 2/3, R = 1, F1 = 0.8.
  EXPECT_DOUBLE_EQ(AnswerF1("in ancient Rome", Gold({"ancient Rome"})), 0.8);
  EXPECT_DOUBLE_EQ(AnswerF1("in ancient Rome", Gold({"x", "in the ancient Rome"})), 1);
  // A word counts as often as it stands on both sides: 1 shared, 2 and 1 words.
  EXPECT_DOUBLE_EQ(AnswerF1("no no", Gold({"no"})), 2.0 / 3);
  EXPECT_EQ(AnswerF1("x", Gold({"y"})), 0);
  EXPECT_EQ(AnswerF1("", Gold({"y"})), 0);
  EXPECT_EQ(AnswerF1("", {}), 1);
}

}  // namespace
}  // namespace thimble
