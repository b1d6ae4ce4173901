#include "thimble/data/plain_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "thimble/data/test_files.h"

namespace thimble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Rest(PlainText& text) {
  std::vector<std::string> lines;
  std::string line;
  for (;;) {
    const Result<bool> more = text.Next(line);
    if (!more.has_value()) return {more.error().message()};
    if (!*more) return lines;
    lines.push_back(line);
  }
}

TEST(PlainText, AFolderInOrder) {
  TestFolder folder;
  folder.Write("in/b.txt.gz", Gzip("three\n\nfour"));
  folder.Write("in/a.txt", "one\r\n \ntwo\n");
  folder.Write("in/sub/c.txt", "five\n");
  folder.Write("in/notes.md", "not text for a model\n");
  auto text = PlainText::Open({folder.Path("in")});
  ASSERT_TRUE(text.has_value()) << text.error().message();
  EXPECT_THAT(Rest(*text), ElementsAre("one", "two", "three", "four", "five"));
  EXPECT_EQ(text->lines(), 5u);
  EXPECT_EQ(text->bytes_read(), text->bytes_total());
  ASSERT_TRUE(text->Rewind().has_value());
  EXPECT_EQ(text->bytes_read(), 0);
  EXPECT_THAT(Rest(*text), ElementsAre("one", "two", "three", "four", "five"));
}

TEST(PlainText, TextsOfDataSets) {
  TestFolder folder;
  auto text =
      PlainText::Open({folder.Write("a.tsv", "text_a\ttext_b\tscore\na\tb\t1\nc\td\t\n"),
                       folder.Write("b.jsonl", "{\"text\": \"e\"}\n{\"text\": \"f\"}\n"),
                       folder.Write("c.jsonl", "{\"question\": \"q\", \"context\": \"x\\ny\"}"),
                       folder.Write("plain", "g\n")});
  ASSERT_TRUE(text.has_value()) << text.error().message();
  EXPECT_THAT(Rest(*text), ElementsAre("a", "b", "c", "d", "e", "f", "q", "x y", "g"));
}

TEST(PlainText, TheColumnThatIsNamed) {
  TestFolder folder;
  auto text = PlainText::Open({folder.Write("a.csv", "text,note\na,b\n")}, {.text_column = "note"});
  ASSERT_TRUE(text.has_value());
  EXPECT_THAT(Rest(*text), ElementsAre("b"));
}

TEST(PlainText, LinesThatAreNoText) {
  TestFolder folder;
  auto text = PlainText::Open({folder.Write("a.txt", std::string("a\n\xff\nb\0c\nd\n", 10))});
  ASSERT_TRUE(text.has_value());
  EXPECT_THAT(Rest(*text), ElementsAre("a", "d"));
  EXPECT_EQ(text->invalid_lines(), 2u);
}

TEST(PlainText, WhatCannotBeRead) {
  TestFolder folder;
  EXPECT_THAT(PlainText::Open({folder.Path("none")}).error().message(),
              HasSubstr("none: there is no such file or folder"));
  folder.Write("empty/x.md", "");
  EXPECT_THAT(PlainText::Open({folder.Path("empty")}).error().message(),
              HasSubstr("there is no .txt or .txt.gz file"));
  EXPECT_THAT(PlainText::Open({}).error().message(), HasSubstr("no file or folder"));
  const std::string gzip = Gzip("line one\nline two\n");
  auto cut = PlainText::Open({folder.Write("a.txt.gz", gzip.substr(0, gzip.size() - 4))});
  ASSERT_TRUE(cut.has_value());
  EXPECT_THAT(Rest(*cut), ElementsAre(HasSubstr("a.txt.gz: line 3: is cut off")));
  auto nothing = PlainText::Open({folder.Write("nothing.txt", "")});
  ASSERT_TRUE(nothing.has_value());
  EXPECT_THAT(Rest(*nothing), IsEmpty());
}

}  // namespace
}  // namespace thimble
