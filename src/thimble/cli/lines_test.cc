#include "thimble/cli/lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

namespace thimble::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LinesOfFile : public ::testing::Test {
 protected:
  ~LinesOfFile() override { unlink(path_.c_str()); }

  std::vector<std::string> Read(const std::string& content) {
    std::ofstream(path_, std::ios::binary) << content;
    std::vector<std::string> lines;
    auto reader = LineReader::Open(path_);
    EXPECT_TRUE(reader.has_value());
    std::string line;
    for (;;) {
      auto more = reader->Next(line);
      EXPECT_TRUE(more.has_value()) << more.error().message();
      if (!more.has_value() || !*more) break;
      lines.push_back(line);
    }
    EXPECT_EQ(reader->bytes_read(), static_cast<double>(content.size()));
    EXPECT_EQ(reader->bytes_total(), static_cast<double>(content.size()));
    return lines;
  }

  std::string path_ = ::testing::TempDir() + "lines_test." + std::to_string(getpid());
};

TEST_F(LinesOfFile, KeepsOrderAndEmptyLines) {
  EXPECT_THAT(Read("a\n\nb\n"), ElementsAre("a", "", "b"));
}
TEST_F(LinesOfFile, CountsALastLineWithoutEnd) { EXPECT_THAT(Read("a\nb"), ElementsAre("a", "b")); }
TEST_F(LinesOfFile, OfAnEmptyFileThereAreNone) { EXPECT_THAT(Read(""), ElementsAre()); }
TEST_F(LinesOfFile, TakesWindowsEndsAndOneByteOrderMark) {
  EXPECT_THAT(Read("\xEF\xBB\xBF"
                   "a\r\n\xEF\xBB\xBF"
                   "b\r\n"),
              ElementsAre("a",
                          "\xEF\xBB\xBF"
                          "b"));
}
TEST_F(LinesOfFile, KeepsBytesThatAreNotText) {
  EXPECT_THAT(Read(std::string("a\0b\xff\n", 5)), ElementsAre(std::string("a\0b\xff", 4)));
}
TEST_F(LinesOfFile, FindsLinesAcrossTheReadBuffer) {
  const std::string longer(100000, 'x');
  const std::string exact(65535, 'y');  // with its end, one buffer
  EXPECT_THAT(Read(exact + "\n" + longer + "\nz\n" + longer),
              ElementsAre(exact, longer, "z", longer));
}

TEST_F(LinesOfFile, RefusesALineWithoutEnd) {
  std::ofstream(path_, std::ios::binary) << "ok\n";
  ASSERT_EQ(truncate(path_.c_str(), off_t{1} << 30), 0);  // a gigabyte of NUL, none of it on disk
  auto reader = LineReader::Open(path_);
  ASSERT_TRUE(reader.has_value());
  std::string line;
  ASSERT_TRUE(reader->Next(line).has_value());
  const auto second = reader->Next(line);
  ASSERT_FALSE(second.has_value());
  EXPECT_THAT(second.error().message(), HasSubstr("line 2 is longer than 64.0 MiB"));
}

TEST(LineReader, SaysWhatIsNotThere) {
  const auto missing = LineReader::Open("/nonexistent/lines.txt");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message(), HasSubstr("/nonexistent/lines.txt"));
}

TEST(LineReader, RefusesADirectory) {
  auto reader = LineReader::Open("/");
  ASSERT_TRUE(reader.has_value());
  std::string line;
  EXPECT_FALSE(reader->Next(line).has_value());
}

std::string Told(const std::string& line) {
  auto object = ParseJsonLine(line);
  if (!object.has_value()) return object.error().message();
  auto text = TextLineOf(*object);
  if (!text.has_value()) return text.error().message();
  return text->text + "/" + text->pair.value_or("-");
}

TEST(JsonLine, ReadsTextsPairsAndQuestions) {
  EXPECT_EQ(Told(R"({"text": "a"})"), "a/-");
  EXPECT_EQ(Told(R"({"text": "a", "text_pair": "b"})"), "a/b");
  EXPECT_EQ(Told(R"({"question": "q", "context": "c", "id": 7})"), "q/c");
}

TEST(JsonLine, SaysWhatIsWrong) {
  EXPECT_EQ(Told(""), "not valid JSON");
  EXPECT_EQ(Told("{\"text\": \"\xff\"}"), "not valid JSON");
  EXPECT_EQ(Told("[1]"), "not a JSON object");
  EXPECT_EQ(Told("{}"), "there is no \"text\"");
  EXPECT_EQ(Told(R"({"text": 1})"), "\"text\" is not a string");
  EXPECT_EQ(Told(R"({"question": "q"})"), "there is no \"context\"");
  EXPECT_EQ(Told(std::string(1000000, '[')), "not valid JSON");
}

TEST(DumpJson, NeverFails) {
  EXPECT_EQ(DumpJson({{"a", "\xff"}, {"b", 1.5}}), "{\"a\":\"\xEF\xBF\xBD\",\"b\":1.5}");
  EXPECT_EQ(DumpJson(std::numeric_limits<double>::quiet_NaN()), "null");
}

}  // namespace
}  // namespace thimble::cli
