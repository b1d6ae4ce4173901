#include "thimble/compress/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "thimble/data/test_files.h"
#include "thimble/train/test_models.h"

namespace thimble::compress {
namespace {

using testing::HasSubstr;

Model TaskModel(Task task, std::vector<std::string> labels) {
  Model model;
  model.task = task;
  model.graph = train::SmallBert(task, std::max<int64_t>(1, static_cast<int64_t>(labels.size())));
  model.labels = std::move(labels);
  TokenizerSpec& t = model.tokenizer;
  t.kind = TokenizerKind::kWordPiece;
  t.pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "fine", "dull"};
  t.unknown_id = 1, t.cls_id = 2, t.sep_id = 3, t.pad_id = 0;
  return model;
}

Model Sentiment() { return TaskModel(Task::kSingleLabel, {"neg", "pos"}); }

// Rows "good film<i> <label>"; every text is different.
std::string Rows(size_t count, const std::string& negative, const std::string& positive) {
  std::string text = "text\tlabel\n";
  for (size_t i = 0; i < count; ++i) {
    text += (i < count / 2 ? "bad film" : "good film") + std::string(1 + i, '.') + "\t" +
            (i < count / 2 ? negative : positive) + "\n";
  }
  return text;
}

std::string ErrorOf(const std::string& path, const Model& model) {
  const auto read = ReadCalibration(path, model, {});
  return read.has_value() ? "no error" : read.error().message();
}

TEST(ReadCalibration, DrawsFromTheWholeFile) {
  const TestFolder folder;
  const std::string path = folder.Write("calib.tsv", Rows(200, "neg", "pos"));
  const auto read = ReadCalibration(path, Sentiment(), {.samples = 40});
  ASSERT_TRUE(read.has_value()) << read.error().message();
  ASSERT_EQ(read->size(), 40u);
  std::set<int32_t> first_words;
  for (const train::TrainingExample& e : *read) {
    first_words.insert(e.ids[1]);
    EXPECT_LE(e.ids.size(), 32u);  // what the model takes
  }
  EXPECT_EQ(first_words, (std::set<int32_t>{4, 5}));  // the file is sorted by label
  const auto again = ReadCalibration(path, Sentiment(), {.samples = 40});
  for (size_t i = 0; i < 40; ++i) EXPECT_EQ((*again)[i].ids, (*read)[i].ids);
  const auto cut = ReadCalibration(path, Sentiment(), {.max_length = 3});
  EXPECT_EQ(cut->size(), 200u);
  for (const train::TrainingExample& e : *cut) EXPECT_EQ(e.ids.size(), 3u);
}

TEST(ReadCalibration, TakesPlainText) {
  const TestFolder folder;
  std::string text;
  for (int i = 0; i < 40; ++i) text += "good film\n\nfine bad dull film\n";
  const auto read = ReadCalibration(folder.Write("texts.txt", text), Sentiment(), {});
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(read->size(), 80u);
  // A model without labels reads the texts of any data set.
  const std::string rows = folder.Write("rows.tsv", Rows(40, "a", "b"));
  const auto features = ReadCalibration(rows, TaskModel(Task::kFeatures, {}), {});
  ASSERT_TRUE(features.has_value()) << features.error().message();
  EXPECT_EQ(features->size(), 40u);
}

TEST(ReadCalibration, SaysWhatWouldDo) {
  const TestFolder folder;
  EXPECT_EQ(ErrorOf(folder.Write("few.tsv", Rows(8, "neg", "pos")), Sentiment()),
            folder.Path("few.tsv") + ": 8 texts are too few to calibrate on; give at least 32");
  // One foreign label among many known ones is enough.
  EXPECT_EQ(ErrorOf(folder.Write("other.tsv", Rows(400, "neg", "ham")), Sentiment()),
            folder.Path("other.tsv") +
                ": its label \"ham\" is none of the model's, which has \"neg\", \"pos\"; give data "
                "of the model's task");
  EXPECT_THAT(ErrorOf(folder.Write("words.tsv", Rows(40, "neg", "pos")),
                      TaskModel(Task::kRegression, {"score"})),
              HasSubstr("the model's task is regression"));
  EXPECT_THAT(ErrorOf(folder.Path("none.tsv"), Sentiment()), HasSubstr("none.tsv"));
}

}  // namespace
}  // namespace thimble::compress
