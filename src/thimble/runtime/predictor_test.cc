#include "thimble/runtime/predictor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "thimble/runtime/test_models.h"

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::vector<Prediction> Predict(const Model& model, const std::vector<PredictorInput>& inputs,
                                PredictorOptions options = {}) {
  Result<Predictor> predictor = Predictor::Create(model, std::move(options));
  EXPECT_TRUE(predictor.has_value()) << predictor.error().message();
  Result<std::vector<Prediction>> results = predictor->Predict(inputs);
  EXPECT_TRUE(results.has_value()) << results.error().message();
  return *std::move(results);
}

TEST(Predictor, GivesProbabilitiesThatSumToOne) {
  const auto results =
      Predict(TestModel(Task::kSingleLabel, 3), {{.text = "a fine film"}, {.text = ""}});
  ASSERT_THAT(results, SizeIs(2));
  for (const Prediction& p : results) {
    ASSERT_THAT(p.scores, SizeIs(3));
    EXPECT_NEAR(std::accumulate(p.scores.begin(), p.scores.end(), 0.0), 1.0, 1e-6);
  }
  EXPECT_EQ(results[0].tokens_in, 5u);
  EXPECT_EQ(results[1].tokens_in, 2u) << "an empty text is [CLS] [SEP]";
}

TEST(Predictor, ScoresEveryLabelOnItsOwn) {
  const Model model = TestModel(Task::kMultiLabel, 4);
  const auto results = Predict(model, {{.text = "a bad film"}}, {.raw_outputs = {"logits"}});
  ASSERT_THAT(results[0].raw, SizeIs(1));
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(results[0].scores[i], Sigmoid(results[0].raw[0].values[i]));
  }
}

TEST(Predictor, LeavesRegressionValuesAsTheyAre) {
  const Model model = TestModel(Task::kRegression, 1);
  const auto results = Predict(model, {{.text = "a film"}}, {.raw_outputs = {"logits"}});
  EXPECT_EQ(results[0].scores, results[0].raw[0].values);
}

TEST(Predictor, LabelsTokensWithTheirPlaces) {
  const auto results = Predict(TestModel(Task::kTokenLabels, 5), {{.text = "A badly film"}});
  std::vector<std::pair<uint32_t, uint32_t>> places;
  for (const TokenLabel& t : results[0].tokens) places.emplace_back(t.range.begin, t.range.end);
  EXPECT_THAT(places, ElementsAre(std::pair(0u, 1u), std::pair(2u, 5u), std::pair(5u, 7u),
                                  std::pair(8u, 12u)));
}

TEST(Predictor, AnswersFromTheContextAlone) {
  const Model model = TestModel(Task::kAnswers, 2);
  const std::string context = "it is in Paris.";
  const auto results = Predict(model, {{.text = "where is it?", .pair = context}});
  ASSERT_THAT(results[0].answers, SizeIs(1));
  EXPECT_LT(results[0].answers[0].begin, results[0].answers[0].end);
  EXPECT_LE(results[0].answers[0].end, context.size());
  EXPECT_GT(results[0].answers[0].score, 0);
  EXPECT_LE(results[0].answers[0].score, 1);
}

TEST(Predictor, SaysHowLikelyNoAnswerIs) {
  const Model model = TestModel(Task::kAnswers, 2);
  const auto results = Predict(model, {{.text = "where is it?", .pair = "it is in Paris."}},
                               {.raw_outputs = {"logits"}});
  const FloatMatrix& logits = results[0].raw[0];
  EXPECT_EQ(results[0].no_answer_logit, logits.values[0] + logits.values[1]);
  float best = -1e9f;
  for (size_t s = 0; s < logits.rows; ++s) {
    for (size_t e = s; e < logits.rows; ++e) {
      best = std::max(best, logits.values[2 * s] + logits.values[2 * e + 1]);
    }
  }
  EXPECT_LE(results[0].answers[0].logit, best);
}

TEST(Predictor, OfSeveralWindowsTheLargestLogitCounts) {
  const Model model = TestModel(Task::kAnswers, 2);
  std::string context;
  for (int i = 0; i < 60; ++i) context += i % 7 == 0 ? "film is bad " : "a film ";
  const PredictorInput whole{.text = "it?", .pair = context};
  const auto logit_with = [&](size_t window) {
    return Predict(model, {whole}, {.answer_window = window, .answer_stride = 2})[0]
        .answers[0]
        .logit;
  };
  // The windows of one run, read one by one, never give a larger logit than the run chose.
  const auto results = Predict(model, {whole}, {.raw_outputs = {"logits"}, .answer_stride = 2});
  const FloatMatrix& first = results[0].raw[0];
  float best =
      -1e9f;  // of single tokens of the first window's context, "[CLS] it ? [SEP]" left out
  for (size_t t = 4; t + 1 < first.rows; ++t) {
    best = std::max(best, first.values[2 * t] + first.values[2 * t + 1]);
  }
  EXPECT_GE(results[0].answers[0].logit, best);
  EXPECT_EQ(logit_with(384), results[0].answers[0].logit);
}

TEST(Predictor, GivesTheBestSpansOnceEachAndInOrder) {
  const Model model = TestModel(Task::kAnswers, 2);
  std::string context;
  for (int i = 0; i < 20; ++i) context += i % 3 == 0 ? "film is bad " : "a film ";
  const PredictorInput input{.text = "it?", .pair = context};
  const PredictorOptions windows{.answer_window = 24, .answer_stride = 8, .max_answer_tokens = 4};
  const auto best = [&](size_t count) {
    PredictorOptions options = windows;
    options.answers = count;
    return Predict(model, {input}, options)[0].answers;
  };
  // All spans there are, and the few best among them.
  const std::vector<Answer> all = best(100000), few = best(5);
  std::set<std::pair<uint32_t, uint32_t>> spans;
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(spans.emplace(all[i].begin, all[i].end).second);
    if (i > 0) {
      EXPECT_GE(all[i - 1].logit, all[i].logit);
    }
  }
  size_t tokens = 0;
  for (const Answer& a : all) tokens = std::max<size_t>(tokens, a.end);
  EXPECT_EQ(tokens, context.size() - 1) << "spans of the last window are there";
  ASSERT_THAT(few, SizeIs(5));
  for (size_t i = 0; i < few.size(); ++i) EXPECT_EQ(few[i].logit, all[i].logit);
}

TEST(Predictor, ReadsALongContextInWindows) {
  const Model model = TestModel(Task::kAnswers, 2);
  std::string context;
  for (int i = 0; i < 60; ++i) context += "a bad film ";
  const auto results =
      Predict(model, {{.text = "where is it?", .pair = context}, {.text = "it?", .pair = "a"}},
              {.answer_stride = 4});
  EXPECT_GT(results[0].tokens_in, 180u) << "every token of the context, and the question each time";
  EXPECT_THAT(results[1].answers, SizeIs(1));
}

TEST(Predictor, OffersCandidatesForMaskedTokens) {
  const Model model = TestModel(Task::kMaskedLm, 17);
  const auto results = Predict(model, {{.text = "a [MASK] film"}}, {.masked_candidates = 3});
  ASSERT_THAT(results[0].masked_tokens, SizeIs(1));
  const MaskedToken& masked = results[0].masked_tokens[0];
  EXPECT_EQ(masked.token, 2u);
  EXPECT_EQ(masked.range, (ByteRange{2, 8}));
  ASSERT_THAT(masked.candidates, SizeIs(3));
  EXPECT_GE(masked.candidates[0].score, masked.candidates[1].score);
}

TEST(Predictor, MeansTheAttendedTokensWhereNothingPools) {
  const Model model = TestModel(Task::kFeatures, 0);
  const PredictorInput input{.ids = {2, 5, 3}, .type_ids = {0, 0, 0}, .mask = {1, 1, 0}};
  const auto results = Predict(model, {input}, {.raw_outputs = {"last_hidden_state"}});
  const FloatMatrix& hidden = results[0].raw[0];
  ASSERT_EQ(hidden.rows, 3u);
  for (size_t c = 0; c < hidden.width; ++c) {
    EXPECT_FLOAT_EQ(results[0].embedding[c],
                    (hidden.values[c] + hidden.values[hidden.width + c]) / 2);
  }
}

TEST(Predictor, GivesTheSameAloneAndInABatch) {
  const Model model = TestModel(Task::kSingleLabel, 3);
  const std::vector<PredictorInput> inputs = {{.text = "a fine film"},
                                              {.text = "bad", .pair = "film"},
                                              {.ids = {2, 7, 8, 3}},
                                              {.text = "it is."}};
  const auto together = Predict(model, inputs, {.threads = 2});
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_EQ(Predict(model, {inputs[i]})[0].scores, together[i].scores) << i;
  }
}

TEST(Predictor, SaysWhatWasCutOff) {
  const Model model = TestModel(Task::kSingleLabel, 2);
  std::string text;
  for (int i = 0; i < 30; ++i) text += "film ";
  const auto results = Predict(model, {{.text = text}, {.text = "bad\xFF"}});
  EXPECT_EQ(results[0].truncated_tokens, 8u) << "24 less two special tokens stay";
  EXPECT_EQ(results[1].invalid_bytes, 1u);
}

TEST(Predictor, NamesTheInputThatIsWrong) {
  Model model = TestModel(Task::kAnswers, 2);
  Result<Predictor> answers = Predictor::Create(model);
  const std::vector<PredictorInput> no_context = {{.text = "a", .pair = "b"}, {.text = "a"}};
  EXPECT_THAT(answers->Predict(no_context).error().message(),
              HasSubstr("input 1: the model answers questions; give a question and a context"));
  model.tokenizer = {};
  Result<Predictor> ids_only = Predictor::Create(model);
  EXPECT_THAT(ids_only->Predict(std::vector<PredictorInput>{{.text = "a"}}).error().message(),
              HasSubstr("no tokenizer; give token ids"));
}

}  // namespace
}  // namespace thimble
