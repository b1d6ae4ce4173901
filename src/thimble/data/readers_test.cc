// The formats: what is read, and how damage is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "thimble/data/dataset.h"
#include "thimble/data/line_stream.h"
#include "thimble/data/test_files.h"

namespace thimble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Dataset Read(std::string_view bytes, DatasetOptions options) {
  Result<Dataset> data = ReadDatasetFromBytes(bytes, "data", options);
  if (data.has_value()) return *std::move(data);
  ADD_FAILURE() << data.error().message();
  return {};
}
Dataset Read(std::string_view bytes, DatasetFormat format) {
  return Read(bytes, DatasetOptions{.format = format});
}

std::string ErrorOfReading(std::string_view bytes, DatasetOptions options) {
  const Result<Dataset> data = ReadDatasetFromBytes(bytes, "data", options);
  return data.has_value() ? "no error" : data.error().message();
}
std::string ErrorOfReading(std::string_view bytes, DatasetFormat format) {
  return ErrorOfReading(bytes, DatasetOptions{.format = format});
}

std::vector<std::string> Texts(const Dataset& data) {
  std::vector<std::string> texts;
  for (const Example& example : data.examples) {
    texts.push_back(example.text + (example.pair ? " & " + *example.pair : ""));
  }
  return texts;
}

constexpr auto kTsv = DatasetFormat::kTsv;
constexpr auto kCsv = DatasetFormat::kCsv;
constexpr auto kJsonl = DatasetFormat::kJsonl;
constexpr auto kSquad = DatasetFormat::kSquad;
constexpr auto kConll = DatasetFormat::kConll;

// --- TSV

TEST(Tsv, TextsWithLabels) {
  const Dataset data = Read("text\tlabel\ngood \"film\"\tpos\nbad\tneg\n", kTsv);
  EXPECT_EQ(data.task, Task::kSingleLabel);
  EXPECT_THAT(data.labels, ElementsAre("neg", "pos"));
  EXPECT_THAT(Texts(data), ElementsAre("good \"film\"", "bad"));
  EXPECT_THAT(data.examples[0].labels, ElementsAre(1));
  EXPECT_EQ(data.examples[1].line, 3);
  EXPECT_THAT(data.report.Lines("data"), IsEmpty());
}

TEST(Tsv, ByteOrderMarkCarriageReturnsAndNoEnd) {
  const Dataset data = Read("\xEF\xBB\xBFtext\tlabel\r\na\tx\r\n\r\nb\ty", kTsv);
  EXPECT_THAT(Texts(data), ElementsAre("a", "b"));
  EXPECT_THAT(data.labels, ElementsAre("x", "y"));
  EXPECT_EQ(data.examples[1].line, 4);
}

TEST(Tsv, PublishersNamesOfColumns) {
  EXPECT_THAT(Texts(Read("index\tSentence1\tSentence2\tgold_label\n7\ta\tb\tx\n", kTsv)),
              ElementsAre("a & b"));
  EXPECT_THAT(Texts(Read("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t5\t6\ta\tb\n", kTsv)),
              ElementsAre("a & b"));
  EXPECT_THAT(Texts(Read("speaker\ttext\temotion\tsentiment\nJo\ta\tjoy\tpos\n", kTsv)),
              ElementsAre("a"));
}

TEST(Tsv, ColumnsAsTheUserSays) {
  const std::string_view text = "topic\tbody\tlabel\tmood\nsea\tfish\tx\thappy\n";
  DatasetOptions options{.format = kTsv, .text_column = "body", .pair_column = "topic"};
  options.label_column = "mood";
  const Dataset data = Read(text, options);
  EXPECT_THAT(Texts(data), ElementsAre("fish & sea"));
  EXPECT_THAT(data.labels, ElementsAre("happy"));
  options.label_column = "humour";
  EXPECT_EQ(
      ErrorOfReading(text, options),
      "data: there is no column \"humour\"; there are: \"topic\", \"body\", \"label\", \"mood\"");
}

TEST(Tsv, FilesWithoutTheColumns) {
  EXPECT_THAT(ErrorOfReading("a\tb\n1\t2\n", kTsv), HasSubstr("data: no column is called text"));
  EXPECT_THAT(ErrorOfReading("text\tb\n1\t2\n", kTsv),
              HasSubstr("data: no column is called label"));
  EXPECT_THAT(ErrorOfReading("", kTsv), HasSubstr("data: the file is empty"));
  EXPECT_EQ(ErrorOfReading("text\tlabel\n", kTsv), "data: there are no rows");
}

TEST(Tsv, BadRowsAreSkippedAndCounted) {
  const std::string text = std::string("text\tlabel\na\tx\nb\nc\tx\ty\n \tx\nd\t\n\xff\tx\n") +
                           std::string("e\0f\tx\n", 6) + "a\tx\n";
  const Dataset data = Read(text, kTsv);
  EXPECT_THAT(Texts(data), ElementsAre("a", "a"));
  EXPECT_EQ(data.report.rows, 8u);
  EXPECT_EQ(data.report.used, 2u);
  EXPECT_THAT(
      data.report.Lines("train.tsv"),
      ElementsAre(
          "train.tsv: line 3: 1 column, the header has 2; skipped (2 such rows: wrong number of "
          "columns)",
          "train.tsv: line 5: empty text; skipped (the only such row)",
          "train.tsv: line 7: text that is not valid UTF-8; skipped (the only such row)",
          "train.tsv: line 8: a NUL byte in a text; skipped (the only such row)",
          "train.tsv: line 6: there is no label; skipped (the only such row)",
          "train.tsv: line 9: the same text and label as line 2; kept (the only such row)"));
}

TEST(Tsv, StrictModeStopsAtTheFirst) {
  const DatasetOptions strict{.format = kTsv, .strict = true};
  EXPECT_EQ(ErrorOfReading("text\tlabel\na\tx\nb\n", strict),
            "data: line 3: 1 column, the header has 2");
  EXPECT_EQ(ErrorOfReading("text\tlabel\na\t\n", strict), "data: line 2: there is no label");
  EXPECT_EQ(ErrorOfReading("text\tlabel\na\tx\n", strict), "no error");
}

TEST(Tsv, NothingUsableIsAnError) {
  EXPECT_EQ(ErrorOfReading("text\tlabel\na\nb\n", kTsv),
            "data: none of 2 rows can be used (line 2: 1 column, the header has 2)");
}

TEST(Tsv, HugeLines) {
  const std::string big(LineStream::kMaxLineBytes + 100'000, 'x');
  EXPECT_THAT(ErrorOfReading("text\tlabel\n" + big, kTsv),
              HasSubstr("line 2: is longer than 64 MiB"));
  const std::string large(1 << 20, 'x');
  EXPECT_EQ(Read("text\tlabel\n" + large + "\ty\n", kTsv).examples[0].text.size(), large.size());
}

TEST(Tsv, Utf16IsRefused) {
  EXPECT_EQ(ErrorOfReading(std::string("\xFF\xFEt\0e\0", 6), kTsv),
            "data: line 1: the file is UTF-16; save it as UTF-8");
}

// --- gzip

TEST(GzipData, IsUndoneWhateverTheName) {
  EXPECT_THAT(Texts(Read(Gzip("text\tlabel\na\tx\n"), kTsv)), ElementsAre("a"));
  EXPECT_THAT(
      Texts(Read(Gzip("text\tlabel\na\tx\n") + Gzip("b\tx\n") + std::string(20, '\0'), kTsv)),
      ElementsAre("a", "b"));
}

TEST(GzipData, EveryTruncationIsOneError) {
  std::string text = "text\tlabel\n";
  for (int i = 0; i < 200; ++i) text += "row " + std::to_string(i * i) + "\tx\n";
  const std::string whole = Gzip(text);
  for (size_t bytes = 2; bytes < whole.size(); ++bytes) {
    const std::string error = ErrorOfReading(whole.substr(0, bytes), kTsv);
    ASSERT_THAT(error, HasSubstr("is cut off: its gzip data ends early")) << bytes;
    ASSERT_THAT(error, HasSubstr("data: line ")) << bytes;
  }
  EXPECT_EQ(Read(whole, kTsv).examples.size(), 200u);
}

TEST(GzipData, DamageIsTold) {
  std::string bytes = Gzip("text\tlabel\na\tx\n");
  bytes[bytes.size() - 6] ^= 1;  // in the checksum
  EXPECT_THAT(ErrorOfReading(bytes, kTsv), HasSubstr("its gzip data is damaged"));
  EXPECT_THAT(ErrorOfReading(Gzip("text\tlabel\na\tx\n") + "more", kTsv),
              HasSubstr("gzip data is damaged"));
}

TEST(GzipData, BombsAreRefused) {
  std::string text = "text\tlabel\n";
  for (int i = 0; i < 80; ++i) text += std::string(size_t{1} << 20, 'x') + "\ty\n";
  const std::string bomb = Gzip(text);
  EXPECT_LT(bomb.size(), size_t{1} << 18);
  EXPECT_THAT(ErrorOfReading(bomb, kTsv), HasSubstr("grows more than 200 times"));
}

// --- CSV

TEST(Csv, QuotesCommasAndLinesInside) {
  const Dataset data = Read(
      "text,label\n\"a, b\",x\n\"she said \"\"no\"\"\",y\n\"two\r\nlines\",x\nplain \"quotes\",y\n",
      kCsv);
  EXPECT_THAT(Texts(data),
              ElementsAre("a, b", "she said \"no\"", "two\r\nlines", "plain \"quotes\""));
  EXPECT_EQ(data.examples[3].line, 6);
  EXPECT_EQ(data.examples[2].line, 4);
}

TEST(Csv, AQuoteThatIsNotClosed) {
  EXPECT_EQ(ErrorOfReading("text,label\na,x\n\"b,x\nc,x\n", kCsv),
            "data: line 3: a quote begins here that is not closed before the file ends");
}

TEST(Csv, TextAfterAQuoteIsABadRow) {
  const Dataset data = Read("text,label\n\"a\"b,x\nc,x\n\"d\",\"x\"\n", kCsv);
  EXPECT_THAT(Texts(data), ElementsAre("c", "d"));
  EXPECT_EQ(data.report.Count(RowProblem::kSyntax), 1u);
  EXPECT_EQ(data.examples[1].labels, data.examples[0].labels);
}

TEST(Csv, EmptyLastCell) {
  const Dataset data = Read("text,label,more\na,x,\nb,x,\"\"\nc,x\n", kCsv);
  EXPECT_THAT(Texts(data), ElementsAre("a", "b"));
  EXPECT_EQ(data.report.Count(RowProblem::kColumns), 1u);
}

// --- JSON lines

TEST(Jsonl, TextsPairsAndLists) {
  const Dataset single = Read(R"({"text": "a", "label": 1}
{"label": "0", "text": "b", "id": 17})",
                              kJsonl);
  EXPECT_EQ(single.task, Task::kSingleLabel);
  EXPECT_THAT(single.labels, ElementsAre("0", "1"));
  EXPECT_EQ(single.examples[1].id, "17");
  const Dataset pairs = Read(R"({"text": "a", "text_pair": "b", "label": "x"})", kJsonl);
  EXPECT_THAT(Texts(pairs), ElementsAre("a & b"));
  const Dataset several = Read(R"({"text": "a", "labels": ["y", "x"]}
{"text": "b", "labels": []})",
                               kJsonl);
  EXPECT_EQ(several.task, Task::kMultiLabel);
  EXPECT_THAT(several.examples[0].labels, ElementsAre(0, 1));
  EXPECT_THAT(several.examples[1].labels, IsEmpty());
}

TEST(Jsonl, LinesThatAreNoRows) {
  const Dataset data = Read(R"({"text": "a", "label": "x"}
{"text": "b", "label": "x"
["text"]
{"text": 7, "label": "x"}
{"text": "c"}
{"text": "d", "label": null}
{"text": "e", "label": {"x": 1}}
{"question": "f", "context": "g", "answers": []}
)",
                            kJsonl);
  EXPECT_THAT(Texts(data), ElementsAre("a"));
  EXPECT_EQ(data.report.Count(RowProblem::kSyntax), 2u);
  EXPECT_EQ(data.report.Count(RowProblem::kField), 4u);
  EXPECT_EQ(data.report.Count(RowProblem::kNoLabel), 1u);
  EXPECT_EQ(data.report.rows, 8u);
}

TEST(Jsonl, AnEmptyObjectAfterAnUnusableOne) {
  const Dataset data = Read("{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\"}\n{}\n", kJsonl);
  EXPECT_EQ(data.report.Count(RowProblem::kField), 2u);
}

TEST(Jsonl, AnswersInBothForms) {
  // The context begins with a letter of 2 bytes, one of 3, and one of 4: 3 code points, 9 bytes.
  const std::string context = "é€😀 was in Rome.";
  for (const std::string& answers : {std::string(R"([{"text": "Rome", "answer_start": 11}])"),
                                     std::string(R"({"text": ["Rome"], "answer_start": [11]})")}) {
    const Dataset data = Read(R"({"id": "q1", "question": "where?", "context": ")" + context +
                                  R"(", "answers": )" + answers + "}",
                              kJsonl);
    EXPECT_EQ(data.task, Task::kAnswers);
    ASSERT_EQ(data.examples.size(), 1u);
    const Example& example = data.examples[0];
    ASSERT_EQ(example.answers.size(), 1u);
    EXPECT_EQ(example.answers[0], (AnswerText{"Rome", 17, 21}));
    EXPECT_EQ(example.pair->substr(17, 4), "Rome");
    EXPECT_EQ(example.id, "q1");
    EXPECT_THAT(data.report.groups, IsEmpty());
  }
}

TEST(Jsonl, AnswersThatAreElsewhereOrNowhere) {
  const Dataset data = Read(
      R"({"question": "q", "context": "ab ab ab", "answers": [{"text": "ab", "answer_start": 4}]}
{"question": "q2", "context": "ab", "answers": [{"text": "cd", "answer_start": 0}]}
{"question": "q3", "context": "ab", "answers": [{"text": "ab", "answer_start": 99}]}
{"question": "q4", "context": "ab", "answers": []}
{"question": "q5", "context": "ab", "answers": "ab"}
{"question": "q6", "context": "ab"}
{"question": "q7", "context": "ab ab", "answers": [{"text": "ab", "answer_start": -1}]})",
      kJsonl);
  ASSERT_EQ(data.examples.size(), 4u);
  EXPECT_EQ(data.examples[0].answers[0].begin, 3u);
  EXPECT_EQ(data.examples[1].answers[0].begin, 0u);
  EXPECT_TRUE(data.examples[2].unanswerable);
  EXPECT_EQ(data.examples[3].answers[0].begin, 0u);
  EXPECT_EQ(data.report.Count(RowProblem::kMovedAnswer), 3u);
  EXPECT_EQ(data.report.Count(RowProblem::kBadAnswer), 1u);
  EXPECT_EQ(data.report.Count(RowProblem::kField), 1u);
  EXPECT_EQ(data.report.Count(RowProblem::kNoLabel), 1u);
}

TEST(Jsonl, WordsAndTags) {
  const Dataset data = Read(R"({"words": ["Ada", "sat"], "tags": ["B-PER", "O"]}
{"words": ["sat"], "tags": ["O", "O"]}
{"words": [], "tags": []}
{"words": ["x", ""], "tags": ["O", "O"]}
{"words": ["x"]})",
                            kJsonl);
  EXPECT_EQ(data.task, Task::kTokenLabels);
  EXPECT_THAT(data.labels, ElementsAre("B-PER", "O"));
  ASSERT_EQ(data.examples.size(), 1u);
  EXPECT_EQ(data.examples[0].text, "Ada sat");
  EXPECT_THAT(data.examples[0].word_labels, ElementsAre(0, 1));
  EXPECT_EQ(data.report.Count(RowProblem::kWordsAndTags), 1u);
  EXPECT_EQ(data.report.Count(RowProblem::kEmptyText), 2u);
  EXPECT_EQ(data.report.Count(RowProblem::kNoLabel), 1u);
}

TEST(Jsonl, DeepNestingIsNoTrouble) {
  const std::string deep(200'000, '[');
  const Dataset data = Read("{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": " + deep + "\n" +
                                "{\"text\": \"b\", \"label\": \"x\", \"more\": " + deep +
                                std::string(200'000, ']') + "}\n",
                            kJsonl);
  EXPECT_EQ(data.report.Count(RowProblem::kSyntax), 1u);
  EXPECT_THAT(Texts(data), ElementsAre("a", "b"));
}

// --- SQuAD and other documents

constexpr std::string_view kSquadDocument =
    R"({"version": "v2.0", "data": [{"title": "t", "paragraphs": [
  {"context": "Zoë lives in Rome.", "qas": [
    {"id": "1", "question": "Where?", "answers": [{"text": "Rome", "answer_start": 13},
                                                   {"text": "Rome", "answer_start": 13},
                                                   {"text": "in Rome", "answer_start": 10}],
     "is_impossible": false},
    {"id": "2", "question": "When?", "answers": [], "is_impossible": true,
     "plausible_answers": [{"text": "Rome", "answer_start": 13}]},
    {"id": "3", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}]}]}]})";

TEST(Squad, AsPublished) {
  const Dataset data = Read(kSquadDocument, kSquad);
  EXPECT_EQ(data.task, Task::kAnswers);
  ASSERT_EQ(data.examples.size(), 2u);
  EXPECT_THAT(data.examples[0].answers,
              ElementsAre(AnswerText{"Rome", 14, 18}, AnswerText{"in Rome", 11, 18}));
  EXPECT_TRUE(data.examples[1].unanswerable);
  EXPECT_THAT(
      data.report.Lines("dev.json"),
      ElementsAre("dev.json: article 1: question \"3\": the answer \"Ada\" is not in its context; "
                  "skipped (the only such row)"));
}

TEST(Squad, EveryTruncationIsOneError) {
  for (size_t bytes = 0; bytes < kSquadDocument.size(); ++bytes) {
    ASSERT_THAT(ErrorOfReading(kSquadDocument.substr(0, bytes), kSquad),
                HasSubstr("data: is not valid JSON"));
  }
}

TEST(Squad, OtherDocuments) {
  EXPECT_THAT(ErrorOfReading("{}", kSquad), HasSubstr("neither SQuAD's JSON"));
  EXPECT_THAT(ErrorOfReading(R"({"data": [{"paragraphs": [{"qas": []}]}]})", kSquad),
              HasSubstr("article 1: a paragraph has no \"context\""));
  EXPECT_THAT(Texts(Read(R"([{"text": "a", "label": 0}, {"text": "b", "label": 1}])", kSquad)),
              ElementsAre("a", "b"));
  EXPECT_THAT(
      Texts(Read("{\"text\": \"a\", \"label\": 0}\n{\"text\": \"b\", \"label\": 1}\n", kSquad)),
      ElementsAre("a", "b"));
}

// --- CoNLL

TEST(Conll, Sentences) {
  const Dataset data = Read(
      "-DOCSTART- -X- -X- O\n\n# id = 4\nAda NNP I-NP B-PER\nsat VBD I-VP O\n\n# "
      "O\nRome\tB-LOC\n\n\n",
      kConll);
  EXPECT_EQ(data.task, Task::kTokenLabels);
  EXPECT_THAT(Texts(data), ElementsAre("Ada sat", "# Rome"));
  EXPECT_THAT(data.labels, ElementsAre("B-LOC", "B-PER", "O"));
  EXPECT_THAT(data.examples[1].word_labels, ElementsAre(2, 0));
  EXPECT_EQ(data.examples[0].line, 4);
}

TEST(Conll, AWordWithoutATagCostsItsSentence) {
  const Dataset data = Read("a O\nb\nc\n\nd O\n", kConll);
  EXPECT_THAT(Texts(data), ElementsAre("d"));
  EXPECT_EQ(data.report.Count(RowProblem::kColumns), 1u);
  EXPECT_EQ(data.report.groups[0].first[0].line, 2);
}

}  // namespace
}  // namespace thimble
