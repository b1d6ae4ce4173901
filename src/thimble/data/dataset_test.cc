// Tasks, label sets and soft labels, and files by their names.
#include "thimble/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/data/overlap.h"
#include "thimble/data/test_files.h"

namespace thimble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Dataset Tsv(std::string_view bytes, DatasetOptions options = {}) {
  options.format = DatasetFormat::kTsv;
  Result<Dataset> data = ReadDatasetFromBytes(bytes, "data", options);
  if (data.has_value()) return *std::move(data);
  ADD_FAILURE() << data.error().message();
  return {};
}

Dataset File(const std::string& path, const DatasetOptions& options = {}) {
  Result<Dataset> data = ReadDataset(path, options);
  if (data.has_value()) return *std::move(data);
  ADD_FAILURE() << data.error().message();
  return {};
}

std::string ErrorOf(const std::string& path, const DatasetOptions& options = {}) {
  const Result<Dataset> data = ReadDataset(path, options);
  return data.has_value() ? "no error" : data.error().message();
}

TEST(Tasks, AreToldByTheData) {
  EXPECT_EQ(Tsv("text\tlabel\na\tx\n").task, Task::kSingleLabel);
  EXPECT_EQ(Tsv("text\tlabel\na\tx|y\nb\tx\n").task, Task::kMultiLabel);
  EXPECT_EQ(Tsv("text\tlabels\na\tx\n").task, Task::kMultiLabel);
  EXPECT_EQ(Tsv("text\tlabel\na\t2.5\n").task, Task::kSingleLabel);
  const Dataset scores = Tsv("text_a\ttext_b\tscore\na\tb\t2.5\nc\td\tnan\n");
  EXPECT_EQ(scores.task, Task::kRegression);
  EXPECT_EQ(scores.examples[0].value, 2.5f);
  EXPECT_THAT(scores.labels, IsEmpty());
  EXPECT_EQ(scores.report.Count(RowProblem::kBadValue), 1u);
}

TEST(Tasks, AreAsTheUserSays) {
  EXPECT_EQ(Tsv("text\tlabel\na\t2.5\n", {.task = Task::kRegression}).examples[0].value, 2.5f);
  EXPECT_THAT(Tsv("text\tlabels\na\tx\n", {.task = Task::kSingleLabel}).examples[0].labels,
              ElementsAre(0));
  TestFolder folder;
  const std::string path = folder.Write("a.tsv", "text\tlabel\na\tx\n");
  EXPECT_THAT(ErrorOf(path, {.task = Task::kAnswers}), HasSubstr("have no questions and contexts"));
  EXPECT_THAT(ErrorOf(path, {.task = Task::kTokenLabels}), HasSubstr("have no words and tags"));
  EXPECT_THAT(ErrorOf(path, {.task = Task::kFeatures}), HasSubstr("has no labelled data"));
}

TEST(Labels, IntegersAreSortedByValue) {
  EXPECT_THAT(Tsv("text\tlabel\na\t10\nb\t9\nc\t-1\n").labels, ElementsAre("-1", "9", "10"));
  EXPECT_THAT(Tsv("text\tlabel\na\t10\nb\t9\nc\tx\n").labels, ElementsAre("10", "9", "x"));
}

TEST(Labels, SeveralInOneCell) {
  const Dataset data = Tsv("text\tlabels\na\tz|x|x\nb\t\nc\ty\n");
  EXPECT_THAT(data.labels, ElementsAre("x", "y", "z"));
  EXPECT_THAT(data.examples[0].labels, ElementsAre(0, 2));
  EXPECT_THAT(data.examples[1].labels, IsEmpty());
  // A label that holds the separator itself, and is known, is one label.
  const Dataset odd = Tsv("text\tlabel\na\tx|y\n", {.labels = {"x|y", "z"}});
  EXPECT_EQ(odd.task, Task::kSingleLabel);
  EXPECT_THAT(odd.examples[0].labels, ElementsAre(0));
}

TEST(Labels, OutsideTheKnownSet) {
  const std::string_view text = "text\tlabel\na\tx\nb\tnew\nc\tnew\n";
  const Dataset skipped = Tsv(text, {.labels = {"y", "x"}});
  EXPECT_EQ(skipped.examples.size(), 1u);
  EXPECT_THAT(skipped.labels, ElementsAre("y", "x"));
  EXPECT_THAT(
      skipped.report.Lines("f"),
      ElementsAre("f: line 3: the label \"new\" is not in the label set; skipped (2 such rows: a "
                  "label outside the label set)"));
  const Dataset kept = Tsv(text, {.labels = {"y", "x"}, .unknown_label = UnknownLabel::kAppend});
  EXPECT_EQ(kept.examples.size(), 3u);
  EXPECT_THAT(kept.labels, ElementsAre("y", "x", "new"));
  EXPECT_EQ(kept.known_labels, 2u);
  EXPECT_THAT(kept.examples[1].labels, ElementsAre(2));
  EXPECT_EQ(kept.report.Count(RowProblem::kForeignLabel), 2u);
}

TEST(Labels, OtherCaseAndNoNames) {
  const Dataset data = Tsv("text\tlabel\na\tnegative\n", {.labels = {"POSITIVE", "NEGATIVE"}});
  EXPECT_THAT(data.examples[0].labels, ElementsAre(1));
  EXPECT_THAT(data.report.notes, ElementsAre(HasSubstr("\"negative\" is \"NEGATIVE\"")));
  const Dataset ambiguous = Tsv("text\tlabel\na\tx\nb\ts\n", {.labels = {"s", "S", "X"}});
  EXPECT_THAT(ambiguous.examples[0].labels, ElementsAre(2));
  EXPECT_THAT(ambiguous.examples[1].labels, ElementsAre(0));
  const Dataset unnamed = Tsv("text\tlabel\na\t1\nb\t2\n", {.labels = {"LABEL_0", "LABEL_1"}});
  EXPECT_THAT(unnamed.examples[0].labels, ElementsAre(1));
  EXPECT_EQ(unnamed.report.Count(RowProblem::kUnknownLabel), 1u);
  EXPECT_THAT(unnamed.report.notes, ElementsAre(HasSubstr("by their index")));
}

TEST(LabelsFile, GivesNamesAndOrder) {
  TestFolder folder;
  folder.Write("labels.txt", "0\tnegative\t_minus_\n1\tpositive\n2\tmixed\n");
  const std::string by_index = folder.Write("a.tsv", "text\tlabel\na\t1\nb\t0\n");
  const Dataset data = File(by_index);
  EXPECT_THAT(data.labels, ElementsAre("negative", "positive", "mixed"));
  EXPECT_THAT(data.examples[0].labels, ElementsAre(1));
  const std::string by_name = folder.Write("b.tsv", "text\tlabel\na\tpositive\nb\tneutral\n");
  EXPECT_EQ(File(by_name).report.Count(RowProblem::kUnknownLabel), 1u);
  EXPECT_THAT(File(by_index, {.labels = {"LABEL_0", "LABEL_1", "LABEL_2"}}).examples[0].labels,
              ElementsAre(1));
  EXPECT_THAT(File(by_name, {.labels = {"LABEL_0", "LABEL_1", "LABEL_2"}}).examples[0].labels,
              ElementsAre(1));
  EXPECT_THAT(File(by_index, {.labels = {"POSITIVE", "NEGATIVE"}}).examples[0].labels,
              ElementsAre(0));
}

TEST(LabelsFile, IsAboutTheUsualColumn) {
  TestFolder folder;
  folder.Write("labels.txt", "0\tjoy\n1\tneutral\n");
  const std::string path =
      folder.Write("a.tsv", "text\temotion\tsentiment\na\tjoy\tneutral\nb\tjoy\tpositive\n");
  EXPECT_THAT(File(path).labels, ElementsAre("joy", "neutral"));
  const Dataset other = File(path, {.label_column = "sentiment"});
  EXPECT_THAT(other.labels, ElementsAre("neutral", "positive"));
  EXPECT_THAT(other.report.notes, ElementsAre(HasSubstr("labels.txt is not about the column")));
}

TEST(LabelsFile, ThatIsSomethingElseIsAnError) {
  TestFolder folder;
  const std::string path = folder.Write("a.tsv", "text\tlabel\na\tx\n");
  folder.Write("labels.txt", "0\tx\n2\ty\n");
  EXPECT_THAT(ErrorOf(path), HasSubstr("labels.txt: line 2: the index should be 1"));
  folder.Write("labels.txt", "x\nx\n");
  EXPECT_THAT(ErrorOf(path), HasSubstr("labels.txt: line 2: the name is empty, repeated"));
  folder.Write("labels.txt", "y\nx\n");
  EXPECT_THAT(File(path).labels, ElementsAre("y", "x"));
}

TEST(SoftLabels, InATable) {
  const Dataset data = Tsv(
      "text\tlabel_scores\na\t{\"x\": 0.9, \"y\": 0.2}\nb\ty:0.75|z:0.5\nc\tx:1.5\nd\tnonsense\n");
  EXPECT_EQ(data.task, Task::kMultiLabel);
  EXPECT_THAT(data.labels, ElementsAre("x", "y", "z"));
  ASSERT_EQ(data.examples.size(), 2u);
  EXPECT_THAT(data.examples[0].label_scores, ElementsAre(0.9f, 0.2f, 0.0f));
  EXPECT_THAT(data.examples[0].labels, ElementsAre(0));
  EXPECT_THAT(data.examples[1].label_scores, ElementsAre(0.0f, 0.75f, 0.5f));
  EXPECT_THAT(data.examples[1].labels, ElementsAre(1, 2));
  EXPECT_EQ(data.report.Count(RowProblem::kBadScores), 2u);
}

TEST(SoftLabels, InJson) {
  const DatasetOptions options{.labels = {"x", "y"}, .format = DatasetFormat::kJsonl};
  const auto data = ReadDatasetFromBytes(
      "{\"text\": \"a\", \"label\": \"y\", \"label_scores\": [0.6, 0.4]}\n"
      "{\"text\": \"b\", \"label\": \"y\", \"label_scores\": [0.6]}\n"
      "{\"text\": \"c\", \"label\": \"y\", \"label_scores\": [0.6, \"1\"]}\n",
      "data", options);
  ASSERT_TRUE(data.has_value()) << data.error().message();
  ASSERT_EQ(data->examples.size(), 1u);
  EXPECT_THAT(data->examples[0].labels,
              ElementsAre(1));  // what a person said counts for the metric
  EXPECT_THAT(data->examples[0].label_scores, ElementsAre(0.6f, 0.4f));
  EXPECT_EQ(data->report.Count(RowProblem::kBadScores), 2u);
}

TEST(SoftLabels, OfASingleLabel) {
  const Dataset data = Tsv("text\tlabel_scores\na\tx:0.3|y:0.4\n", {.task = Task::kSingleLabel});
  EXPECT_THAT(data.examples[0].labels, ElementsAre(1));
}

TEST(Names, TellTheFormat) {
  TestFolder folder;
  EXPECT_EQ(File(folder.Write("a.TSV.GZ", Gzip("text\tlabel\na\tx\n"))).examples.size(), 1u);
  EXPECT_EQ(File(folder.Write("a.csv", "text,label\na,x\n")).examples.size(), 1u);
  EXPECT_EQ(File(folder.Write("a.ndjson", "{\"text\": \"a\", \"label\": 1}")).examples.size(), 1u);
  EXPECT_EQ(File(folder.Write("a.conll", "a O\n")).examples.size(), 1u);
  EXPECT_EQ(File(folder.Write("a.txt", "a O\n"), {.task = Task::kTokenLabels}).examples.size(), 1u);
  EXPECT_THAT(ErrorOf(folder.Write("a.xlsx", "?")), HasSubstr("the name tells no format"));
}

TEST(Files, ThatAreNone) {
  TestFolder folder;
  EXPECT_THAT(ErrorOf(folder.Path("no.tsv")), HasSubstr("no.tsv: cannot open: No such file"));
  folder.Write("d.tsv/x", "");
  EXPECT_THAT(ErrorOf(folder.Path("d.tsv")), HasSubstr("is a folder"));
}

TEST(MaxExamples, StopsReading) {
  EXPECT_EQ(Tsv("text\tlabel\na\tx\nb\tx\nc\tx\n", {.max_examples = 2}).examples.size(), 2u);
}

TEST(Overlaps, AreCountedInBothSplits) {
  const Dataset train = Tsv("text\tlabel\na\tx\nb\ty\nc\tx\n");
  Dataset test = Tsv("text\tlabel\na\tx\nb\tx\nd\ty\n");
  test.path = "some/test.tsv";
  const Overlap overlap = CountOverlap(train, test);
  EXPECT_EQ(overlap.rows, 2u);
  EXPECT_EQ(overlap.same_label, 1u);
  EXPECT_EQ(OverlapWords(train, test),
            "2 of 3 rows of test.tsv stand in data too (1 with the same label)");
  EXPECT_EQ(OverlapWords(train, Tsv("text\tlabel\nz\tx\n")), std::nullopt);
  // A pair is another text than its first half.
  EXPECT_EQ(CountOverlap(train, Tsv("text_a\ttext_b\tlabel\na\tb\tx\n")).rows, 0u);
}

}  // namespace
}  // namespace thimble
