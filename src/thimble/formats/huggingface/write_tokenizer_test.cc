#include "thimble/formats/huggingface/write_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "thimble/formats/huggingface/tokenizer_files.h"

namespace thimble {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class WriteTokenizer : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "thimble-tokenizer-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static TokenizerSpec Bert(const char* settings) {
    const auto read =
        ReadTokenizerSettings(*ParseJsonObject(settings), Json::object(), Json::object());
    return *TokenizerFromVocabulary("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n##s\n\"\\\nüber\n",
                                    *read);
  }
  // What is read from the files of `spec`, of which only `only` counts ("": all).
  TokenizerSpec Back(const TokenizerSpec& spec, const std::string& without = "") {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
    for (const auto& [name, text] : WriteTokenizerFiles(spec, "Bert")) {
      if (name != without) std::ofstream(folder_ + "/" + name) << text;
    }
    const Result<TokenizerFiles> files = ReadTokenizerFiles(folder_);
    EXPECT_TRUE(files.has_value()) << files.error().message();
    if (!files.has_value()) return {};
    EXPECT_TRUE(files->warnings.empty());
    TokenizerSpec back = files->spec;
    // The order of added tokens says nothing.
    std::ranges::sort(back.added_tokens, {}, &AddedToken::id);
    return back;
  }
  static TokenizerSpec Sorted(TokenizerSpec spec) {
    std::ranges::sort(spec.added_tokens, {}, &AddedToken::id);
    return spec;
  }

  std::string folder_;
};

TEST_F(WriteTokenizer, EitherFormIsTheSameTokenizer) {
  for (const char* settings :
       {"{}", R"({"do_lower_case":false})", R"({"strip_accents":false,"model_max_length":77})",
        R"({"tokenize_chinese_chars":false,"strip_accents":true})",
        R"({"additional_special_tokens":["<one>","<two>"]})",
        R"({"added_tokens_decoder":{"9":{"content":"new","normalized":true,"lstrip":true}}})"}) {
    SCOPED_TRACE(settings);
    const TokenizerSpec spec = Sorted(Bert(settings));
    EXPECT_EQ(Back(spec), spec);
    EXPECT_EQ(Back(spec, "vocab.txt"), spec);
    EXPECT_EQ(Back(spec, "tokenizer.json"), spec);
  }
}

TEST_F(WriteTokenizer, WordsThatAreNeverSplitAreForTheSlowClasses) {
  const TokenizerSpec spec = Sorted(Bert(R"({"never_split":["don't"]})"));
  EXPECT_FALSE(WriteTokenizerFiles(spec, "Bert").contains("tokenizer.json"));
  EXPECT_EQ(Back(spec), spec);
}

TEST_F(WriteTokenizer, VocabulariesThatLinesCannotHold) {
  TokenizerSpec spec = Sorted(Bert("{}"));
  spec.pieces.push_back("two\nlines");
  const auto files = WriteTokenizerFiles(spec, "Bert");
  EXPECT_FALSE(files.contains("vocab.txt"));
  EXPECT_EQ(Back(spec), spec);
}

TEST_F(WriteTokenizer, NamesTheClassOfTheModel) {
  EXPECT_THAT(WriteTokenizerFiles(Bert("{}"), "MobileBert").at("tokenizer_config.json"),
              HasSubstr("\"MobileBertTokenizer\""));
  EXPECT_THAT(WriteTokenizerFiles(Bert("{}"), "Roberta").at("tokenizer_config.json"),
              HasSubstr("\"BertTokenizer\""));
}

TEST_F(WriteTokenizer, WritesNothingWhereThereIsNone) {
  EXPECT_TRUE(WriteTokenizerFiles({}, "Bert").empty());
}

}  // namespace
}  // namespace thimble
