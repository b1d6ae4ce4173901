#include "thimble/text/unigram.h"

#include <gmock/gmock.h>

#include <cmath>

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Piece = UnigramModel::Piece;

TokenizerSpec Spec(std::vector<std::pair<std::string, double>> pieces) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kUnigram;
  spec.pieces = {"<unk>"};
  spec.scores = {0};
  for (auto& [piece, score] : pieces) {
    spec.pieces.push_back(piece);
    spec.scores.push_back(score);
  }
  spec.unknown_id = 0;
  spec.reserved_ids = 1;
  return spec;
}

std::vector<Piece> Segment(std::vector<std::pair<std::string, double>> pieces,
                           std::string_view text) {
  return UnigramModel::Create(Spec(std::move(pieces)))->Segment(text);
}

TEST(Unigram, TakesTheBestSum) {
  EXPECT_THAT(Segment({{"a", -1}, {"b", -1}, {"ab", -1.5}}, "aab"),
              ElementsAre(Piece{1, 0, 1}, Piece{3, 1, 3}));
  EXPECT_THAT(Segment({{"a", -1}, {"b", -1}, {"ab", -2.5}}, "ab"),
              ElementsAre(Piece{1, 0, 1}, Piece{2, 1, 2}));
}

TEST(Unigram, LaterPieceWinsATie) {
  EXPECT_THAT(Segment({{"a", -1}, {"aa", -1}}, "aaa"), ElementsAre(Piece{2, 0, 2}, Piece{1, 2, 3}));
  EXPECT_THAT(Segment({{"a", -1}, {"b", -1}, {"ab", -2}}, "ab"),
              ElementsAre(Piece{1, 0, 1}, Piece{2, 1, 2}));
}

TEST(Unigram, SumsInDouble) {
  // 2^-40 apart: equal in float32, where the later piece would win.
  EXPECT_THAT(Segment({{"a", -1}, {"b", -1}, {"ab", -2 + std::ldexp(1, -40)}}, "ab"),
              ElementsAre(Piece{3, 0, 2}));
}

TEST(Unigram, ASumOfZeroGivesWay) {
  // "ab" reaches the end with a sum of 0; "b", which comes later, replaces it although it is worse.
  EXPECT_THAT(Segment({{"a", -3}, {"b", -4}, {"ab", 0}}, "ab"),
              ElementsAre(Piece{1, 0, 1}, Piece{2, 1, 2}));
}

TEST(Unigram, JoinsUnknownCharacters) {
  EXPECT_THAT(Segment({{"a", -1}}, "a\u00e9\U0001F600a"),
              ElementsAre(Piece{1, 0, 1}, Piece{0, 1, 7}, Piece{1, 7, 8}));
}

TEST(Unigram, CutsWhereNothingLedWhenThatScoresBetter) {
  // No piece ends between "x" and "a", but a sum of 0 starts there: "x" becomes unknown.
  EXPECT_THAT(Segment({{"xa", -1}, {"a", -0.5}}, "xa"),
              ElementsAre(Piece{0, 0, 1}, Piece{2, 1, 2}));
  EXPECT_THAT(Segment({{"xa", -0.5}, {"a", -1}}, "xa"), ElementsAre(Piece{1, 0, 2}));
}

TEST(Unigram, ReservedPiecesAreNeverFound) {
  TokenizerSpec spec = Spec({{"<s>", -1}, {"s", -2}});
  spec.reserved_ids = 2;
  EXPECT_THAT(UnigramModel::Create(spec)->Segment("<s>"),
              ElementsAre(Piece{0, 0, 1}, Piece{2, 1, 2}, Piece{0, 2, 3}));
}

TEST(Unigram, EmptyTextHasNoPieces) { EXPECT_TRUE(Segment({{"a", -1}}, "").empty()); }

TEST(Unigram, RefusesWhatCannotWork) {
  const auto message = [](auto change) {
    TokenizerSpec spec = Spec({{"a", -1}});
    change(spec);
    return UnigramModel::Create(spec).error().message();
  };
  EXPECT_THAT(message([](TokenizerSpec& s) { s.scores.pop_back(); }), HasSubstr("1 scores for 2"));
  EXPECT_THAT(message([](TokenizerSpec& s) { s.scores[1] = NAN; }), HasSubstr("not a number"));
  EXPECT_THAT(message([](TokenizerSpec& s) { s.reserved_ids = 3; }), HasSubstr("reserved"));
  EXPECT_THAT(message([](TokenizerSpec& s) { s.reserved_ids = -1; }), HasSubstr("reserved"));
  EXPECT_THAT(message([](TokenizerSpec& s) { s.unknown_id = -1; }), HasSubstr("unknown id"));
}

}  // namespace
}  // namespace thimble
