// Every data set at hand is read and counted against what its stats.json says. Skipped, saying so, where
// the folder `shared` is not there.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "thimble/base/file.h"
#include "thimble/data/dataset.h"
#include "thimble/data/overlap.h"
#include "thimble/data/plain_text.h"

namespace thimble {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

fs::path DataFolder() {
  const char* named = std::getenv("THIMBLE_SHARED");
  return (named != nullptr ? fs::path(named) : fs::path(THIMBLE_SOURCE_DIR) / ".." / "shared") /
         "data";
}

class SharedData : public ::testing::Test {
 protected:
  void SetUp() override {
    const Result<std::string> text = ReadFile((DataFolder() / "stats.json").string());
    if (!text.has_value()) {
      GTEST_SKIP() << "no data sets; set THIMBLE_SHARED to the folder that holds `data`";
    }
    stats_ = Json::parse(*text, nullptr, false);
    ASSERT_TRUE(stats_.is_object());
  }

  Json stats_;
};

// set/split of a file "train.tsv.gz".
std::string SplitOf(const fs::path& file) {
  const std::string name = file.filename().string();
  return name.substr(0, name.find('.'));
}

std::vector<fs::path> FilesEnding(const std::string& ending) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(DataFolder())) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(ending) || name.ends_with(ending + ".gz")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// How often each label is used, by its name.
std::map<std::string, size_t> LabelCounts(const Dataset& data) {
  std::map<std::string, size_t> counts;
  for (const Example& example : data.examples) {
    for (const int32_t label : example.labels) ++counts[data.labels[static_cast<size_t>(label)]];
  }
  return counts;
}

// stats.json counts labels as they are written in the file: by index or by name.
void ExpectLabelCounts(const Dataset& data, const Json& expected) {
  const std::map<std::string, size_t> counts = LabelCounts(data);
  size_t used = 0;
  for (const auto& [label, count] : expected.items()) {
    std::string name = label;
    if (!counts.contains(name)) {
      const size_t index = std::strtoul(label.c_str(), nullptr, 10);
      ASSERT_LT(index, data.labels.size()) << label;
      name = data.labels[index];
    }
    ASSERT_TRUE(counts.contains(name)) << label;
    EXPECT_EQ(counts.at(name), count.get<size_t>()) << label;
    ++used;
  }
  EXPECT_EQ(counts.size(), used);
}

TEST_F(SharedData, EveryTable) {
  size_t files = 0;
  for (const fs::path& path : FilesEnding(".tsv")) {
    const std::string set = path.parent_path().filename().string();
    if (set == "emoji_annotations") continue;  // names of emoji, not labelled texts
    SCOPED_TRACE(path);
    const Result<Dataset> data = ReadDataset(path.string());
    ASSERT_TRUE(data.has_value()) << data.error().message();
    EXPECT_EQ(data->report.skipped(), 0u) << data->report.Lines(path.string())[0];
    ++files;
    if (set == "nlupp_multilabel") {  // counted by domain, in one file
      EXPECT_EQ(data->examples.size(), stats_[set]["banking"]["rows"].get<size_t>() +
                                           stats_[set]["hotels"]["rows"].get<size_t>());
      continue;
    }
    const Json& expected = stats_[set][SplitOf(path)];
    EXPECT_EQ(data->examples.size(), expected["rows"].get<size_t>());
    if (set == "glue_stsb") {
      EXPECT_EQ(data->task, Task::kRegression);
    } else {
      const bool several = expected.contains("rows_with_2+_labels");
      EXPECT_EQ(data->task, several ? Task::kMultiLabel : Task::kSingleLabel);
      ExpectLabelCounts(*data, expected["labels"]);
    }
  }
  EXPECT_GE(files, 45u);
}

TEST_F(SharedData, EveryQuestion) {
  size_t files = 0;
  for (const fs::path& path : FilesEnding(".jsonl")) {
    SCOPED_TRACE(path);
    const Result<Dataset> data = ReadDataset(path.string());
    ASSERT_TRUE(data.has_value()) << data.error().message();
    const Json& expected = stats_[path.parent_path().filename().string()][SplitOf(path)];
    EXPECT_EQ(data->task, Task::kAnswers);
    EXPECT_EQ(data->examples.size(), expected["rows"].get<size_t>());
    EXPECT_EQ(data->report.Count(RowProblem::kMovedAnswer),
              expected["offset_mismatch"].get<size_t>());
    size_t unanswerable = 0;
    std::set<std::string> contexts;
    for (const Example& example : data->examples) {
      unanswerable += example.unanswerable;
      contexts.insert(*example.pair);
      for (const AnswerText& answer : example.answers) {
        ASSERT_EQ(example.pair->substr(answer.begin, answer.end - answer.begin), answer.text);
      }
    }
    EXPECT_EQ(unanswerable, expected["unanswerable"].get<size_t>());
    EXPECT_EQ(contexts.size(), expected["contexts"].get<size_t>());
    ++files;
  }
  EXPECT_GE(files, 4u);
}

TEST_F(SharedData, TextsInTwoSplits) {
  const fs::path folder = DataFolder() / "clinc150";
  const Result<Dataset> train = ReadDataset((folder / "train.tsv.gz").string());
  ASSERT_TRUE(train.has_value());
  for (const std::string split : {"val.tsv", "test.tsv.gz"}) {
    const Result<Dataset> other = ReadDataset((folder / split).string());
    ASSERT_TRUE(other.has_value());
    EXPECT_EQ(CountOverlap(*train, *other).rows,
              stats_["clinc150"][SplitOf(split) + "_rows_whose_text_is_in_train"].get<size_t>());
  }
}

TEST_F(SharedData, PlainTextOfWikipedia) {
  Result<PlainText> text = PlainText::Open({(DataFolder() / "wiki_en").string()});
  ASSERT_TRUE(text.has_value()) << text.error().message();
  EXPECT_EQ(text->files().size(), 5u);
  std::string line;
  for (;;) {
    const Result<bool> more = text->Next(line);
    ASSERT_TRUE(more.has_value()) << more.error().message();
    if (!*more) break;
  }
  EXPECT_EQ(text->invalid_lines(), 0u);
  EXPECT_EQ(text->bytes_read(), text->bytes_total());
  EXPECT_GT(text->lines(), 50'000u);
}

}  // namespace
}  // namespace thimble
