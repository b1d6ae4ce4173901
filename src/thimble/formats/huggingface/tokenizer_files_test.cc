#include "thimble/formats/huggingface/tokenizer_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "thimble/formats/huggingface/tokenizer_json.h"

namespace thimble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kPieces[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n##s\n";

TokenizerSettings Settings(const char* config, const char* specials = "{}",
                           const char* added = "{}") {
  const Result<TokenizerSettings> settings = ReadTokenizerSettings(
      *ParseJsonObject(config), *ParseJsonObject(specials), *ParseJsonObject(added));
  EXPECT_TRUE(settings) << settings.error().message();
  return settings ? *settings : TokenizerSettings();
}

TokenizerSpec FromVocabulary(const TokenizerSettings& settings) {
  const Result<TokenizerSpec> spec = TokenizerFromVocabulary(kPieces, settings);
  EXPECT_TRUE(spec) << spec.error().message();
  return spec ? *spec : TokenizerSpec();
}

std::vector<std::string> Texts(const std::vector<AddedToken>& tokens) {
  std::vector<std::string> texts;
  for (const AddedToken& token : tokens)
    texts.push_back(token.text + "=" + std::to_string(token.id));
  return texts;
}

TEST(TokenizerFromVocabulary, DefaultsAreThoseOfBert) {
  const TokenizerSpec spec = FromVocabulary(Settings("{}"));
  EXPECT_EQ(spec.kind, TokenizerKind::kWordPiece);
  EXPECT_EQ(spec.pieces.size(), 7u);
  EXPECT_TRUE(spec.basic_tokenize && spec.clean_text && spec.lower_case && spec.chinese_chars);
  EXPECT_EQ(spec.strip_accents, std::nullopt);
  EXPECT_EQ(spec.pad_id, 0);
  EXPECT_EQ(spec.unknown_id, 1);
  EXPECT_EQ(spec.cls_id, 2);
  EXPECT_EQ(spec.sep_id, 3);
  EXPECT_EQ(spec.mask_id, 4);
  EXPECT_EQ(spec.model_max_length, 0);
  EXPECT_THAT(Texts(spec.added_tokens),
              ElementsAre("[UNK]=1", "[SEP]=3", "[PAD]=0", "[CLS]=2", "[MASK]=4"));
  for (const AddedToken& token : spec.added_tokens) EXPECT_TRUE(token.special && !token.normalized);
}

TEST(TokenizerFromVocabulary, SettingsComeAlong) {
  const TokenizerSpec cased = FromVocabulary(Settings(
      R"({"do_lower_case":false,"strip_accents":true,"tokenize_chinese_chars":false,
          "never_split":["c++"],"model_max_length":512})"));
  EXPECT_FALSE(cased.lower_case);
  EXPECT_EQ(cased.strip_accents, true);
  EXPECT_FALSE(cased.chinese_chars);
  EXPECT_THAT(cased.never_split, ElementsAre("c++"));
  EXPECT_EQ(cased.model_max_length, 512);
  const TokenizerSpec plain = FromVocabulary(Settings(R"({"do_basic_tokenize":false})"));
  EXPECT_FALSE(plain.basic_tokenize || plain.lower_case || plain.clean_text || plain.chinese_chars);
}

TEST(TokenizerFromVocabulary, NoLimitIsWrittenAsAHugeNumber) {
  EXPECT_EQ(Settings(R"({"model_max_length":1000000000000000019884624838656})").model_max_length,
            0);
  EXPECT_EQ(Settings(R"({"model_max_length":1e30})").model_max_length, 0);
  EXPECT_EQ(Settings(R"({"model_max_length":128.0})").model_max_length, 128);
}

TEST(TokenizerFromVocabulary, TokensThatTheVocabularyLacksDoNotExist) {
  const Result<TokenizerSpec> spec = TokenizerFromVocabulary("[UNK]\n[CLS]\n[SEP]\n", {});
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->mask_id, -1);
  EXPECT_EQ(spec->pad_id, -1);
  EXPECT_THAT(Texts(spec->added_tokens), ElementsAre("[UNK]=0", "[SEP]=2", "[CLS]=1"));
}

TEST(TokenizerFromVocabulary, AdditionalTokensFollowTheVocabulary) {
  const TokenizerSpec spec = FromVocabulary(
      Settings(R"({"additional_special_tokens":["<a>",{"content":"<b>","lstrip":true},"hello"]})"));
  EXPECT_THAT(Texts(spec.added_tokens), ElementsAre("[UNK]=1", "[SEP]=3", "[PAD]=0", "[CLS]=2",
                                                    "[MASK]=4", "<a>=7", "<b>=8", "hello=5"));
  EXPECT_TRUE(spec.added_tokens[6].lstrip);
}

TEST(TokenizerFromVocabulary, AddedTokensCanHaveARole) {
  const TokenizerSpec spec =
      FromVocabulary(Settings(R"({"pad_token":"<pad>"})", "{}", R"({"<new>":7,"<pad>":8})"));
  EXPECT_EQ(spec.pad_id, 8);
  EXPECT_EQ(spec.pieces.size(), 9u);
  EXPECT_TRUE(Tokenizer::Create(spec));
}

TEST(TokenizerFromVocabulary, LegacyFilesCountWithoutADecoder) {
  const char* map = R"({"unk_token":{"content":"hello"},"mask_token":"[MASK]"})";
  const char* added = R"({"<new>":7,"[MASK]":4})";
  const TokenizerSpec legacy = FromVocabulary(Settings("{}", map, added));
  EXPECT_EQ(legacy.unknown_id, 5);
  EXPECT_THAT(Texts(legacy.added_tokens),
              ElementsAre("[MASK]=4", "<new>=7", "hello=5", "[SEP]=3", "[PAD]=0", "[CLS]=2"));
  EXPECT_TRUE(legacy.added_tokens[0].special);
  EXPECT_FALSE(legacy.added_tokens[1].special);
  EXPECT_TRUE(legacy.added_tokens[1].normalized);
  const char* decoder = R"({"added_tokens_decoder":{"10":{"content":"x","special":true},
                            "7":{"content":"<y>","normalized":true,"single_word":true}}})";
  const TokenizerSpec now = FromVocabulary(Settings(decoder, map, added));
  EXPECT_EQ(now.unknown_id, 1);
  EXPECT_EQ(now.added_tokens[0].text, "<y>");
  EXPECT_TRUE(now.added_tokens[0].single_word && now.added_tokens[0].normalized);
  EXPECT_EQ(now.added_tokens[1].id, 10);
}

TEST(TokenizerSettings, RefusesOtherTypesByName) {
  const auto error_of = [](const char* config, const char* specials, const char* added) {
    const Result<TokenizerSettings> settings = ReadTokenizerSettings(
        *ParseJsonObject(config), *ParseJsonObject(specials), *ParseJsonObject(added));
    return settings ? "accepted" : settings.error().message();
  };
  EXPECT_THAT(error_of(R"({"do_lower_case":1})", "{}", "{}"), HasSubstr("\"do_lower_case\""));
  EXPECT_THAT(error_of(R"({"model_max_length":"a"})", "{}", "{}"),
              HasSubstr("\"model_max_length\""));
  EXPECT_THAT(error_of(R"({"model_max_length":-1})", "{}", "{}"),
              HasSubstr("\"model_max_length\""));
  EXPECT_THAT(error_of(R"({"never_split":[1]})", "{}", "{}"), HasSubstr("\"never_split\""));
  EXPECT_THAT(error_of(R"({"unk_token":1})", "{}", "{}"), HasSubstr("a token is neither"));
  EXPECT_THAT(error_of(R"({"added_tokens_decoder":{"x":{"content":"y"}}})", "{}", "{}"),
              HasSubstr("the id \"x\""));
  EXPECT_THAT(error_of(R"({"added_tokens_decoder":{"1":{}}})", "{}", "{}"),
              HasSubstr("a token is neither"));
  EXPECT_THAT(error_of("{}", "{}", R"({"a":-1})"), HasSubstr("added_tokens.json: the id of token"));
  EXPECT_THAT(error_of("{}", "{}", R"({"a":999999999999})"), HasSubstr("no token id"));
}

// A whole tokenizer.json, with pieces put in for the parts in question.
std::string TokenizerJson(
    const std::string& normalizer = R"({"type":"BertNormalizer","lowercase":false})",
    const std::string& vocab = R"({"[UNK]":0,"[CLS]":1,"[SEP]":2,"a":3,"[PAD]":4})",
    const std::string& pre_tokenizer = R"({"type":"BertPreTokenizer"})",
    const std::string& post_processor =
        R"({"type":"BertProcessing","sep":["[SEP]",2],"cls":["[CLS]",1]})") {
  return R"({"added_tokens":[{"id":4,"content":"[PAD]","special":true}],"normalizer":)" +
         normalizer + R"(,"pre_tokenizer":)" + pre_tokenizer + R"(,"post_processor":)" +
         post_processor +
         R"(,"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"@@",)"
         R"("max_input_chars_per_word":50,"vocab":)" +
         vocab + "}}";
}

Result<TokenizerSpec> FromJson(const std::string& json, const TokenizerSettings& settings = {}) {
  return ReadTokenizerJson(*ParseJsonObject(json), settings);
}

std::string ErrorOfTokenizer(const std::string& json) {
  const Result<TokenizerSpec> spec = FromJson(json);
  return spec ? "accepted" : spec.error().message();
}

TEST(TokenizerJson, IsReadAsItIs) {
  const Result<TokenizerSpec> spec = FromJson(TokenizerJson());
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_THAT(spec->pieces, ElementsAre("[UNK]", "[CLS]", "[SEP]", "a", "[PAD]"));
  EXPECT_EQ(spec->continuing_prefix, "@@");
  EXPECT_EQ(spec->max_word_chars, 50);
  EXPECT_FALSE(spec->lower_case);
  EXPECT_TRUE(spec->clean_text && spec->chinese_chars && spec->basic_tokenize);
  EXPECT_EQ(spec->unknown_id, 0);
  EXPECT_EQ(spec->cls_id, 1);
  EXPECT_EQ(spec->sep_id, 2);
  EXPECT_EQ(spec->pad_id, 4);
  EXPECT_EQ(spec->mask_id, -1);
}

TEST(TokenizerJson, ClassesForBertOverrideItsNormalizer) {
  const TokenizerSettings bert = Settings(
      R"({"tokenizer_class":"BertTokenizerFast","do_lower_case":true,"strip_accents":false})");
  const Result<TokenizerSpec> overridden = FromJson(TokenizerJson(), bert);
  ASSERT_TRUE(overridden);
  EXPECT_TRUE(overridden->lower_case);
  EXPECT_EQ(overridden->strip_accents, false);
  const TokenizerSettings plain =
      Settings(R"({"tokenizer_class":"PreTrainedTokenizerFast","do_lower_case":true})");
  EXPECT_FALSE(FromJson(TokenizerJson(), plain)->lower_case);
}

TEST(TokenizerJson, SettingsOfTheSlowTokenizerDoNotCount) {
  const TokenizerSettings slow = Settings(R"({"do_basic_tokenize":false,"never_split":["a"]})");
  const Result<TokenizerSpec> spec = FromJson(TokenizerJson(), slow);
  ASSERT_TRUE(spec);
  EXPECT_TRUE(spec->basic_tokenize);
  EXPECT_THAT(spec->never_split, IsEmpty());
}

TEST(TokenizerJson, ReadsTemplates) {
  const std::string single =
      R"([{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},)"
      R"({"SpecialToken":{"id":"[SEP]","type_id":0}}])";
  const std::string tail =
      R"(,{"Sequence":{"id":"B","type_id":1}},{"SpecialToken":{"id":"[SEP]","type_id":1}}])";
  const std::string pair = single.substr(0, single.size() - 1) + tail;
  const auto json = [&](const std::string& one, const std::string& two, const std::string& tokens) {
    return TokenizerJson("null", R"({"[UNK]":0})", R"({"type":"WhitespaceSplit"})",
                         R"({"type":"TemplateProcessing","single":)" + one + R"(,"pair":)" + two +
                             R"(,"special_tokens":)" + tokens + "}");
  };
  const std::string tokens = R"({"[CLS]":{"ids":[7]},"[SEP]":{"ids":[8]}})";
  const Result<TokenizerSpec> spec = FromJson(json(single, pair, tokens));
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(spec->cls_id, 7);
  EXPECT_EQ(spec->sep_id, 8);
  EXPECT_FALSE(spec->basic_tokenize || spec->clean_text || spec->lower_case || spec->chinese_chars);
  EXPECT_THAT(ErrorOfTokenizer(json(pair, pair, tokens)), HasSubstr("template"));
  EXPECT_THAT(ErrorOfTokenizer(json(single, single, tokens)), HasSubstr("template"));
  EXPECT_THAT(ErrorOfTokenizer(json(single, pair, R"({"[CLS]":{"ids":[7]}})")),
              HasSubstr("no id for \"[SEP]\""));
  EXPECT_THAT(ErrorOfTokenizer(json(single, pair, R"({"[CLS]":{"ids":[7,8]}})")),
              HasSubstr("\"[CLS]\""));
  EXPECT_THAT(ErrorOfTokenizer(json("[{}]", pair, tokens)), HasSubstr("unknown item"));
  EXPECT_THAT(ErrorOfTokenizer(json("7", pair, tokens)), HasSubstr("no list \"single\""));
}

TEST(TokenizerJson, PartsThatAreNotKnownAreNamed) {
  EXPECT_THAT(ErrorOfTokenizer(TokenizerJson(R"({"type":"NFKC"})")),
              HasSubstr("normalizer \"NFKC\""));
  EXPECT_THAT(ErrorOfTokenizer(TokenizerJson("null", "{\"a\":0}", R"({"type":"ByteLevel"})")),
              HasSubstr("pre-tokenizer \"ByteLevel\""));
  EXPECT_THAT(ErrorOfTokenizer(
                  TokenizerJson("null", "{\"a\":0}", R"({"type":"BertPreTokenizer"})", "null")),
              HasSubstr("post-processor \"\""));
}

TEST(TokenizerJson, RefusesVocabulariesThatCannotBe) {
  const auto error_of = [](const char* vocab) {
    return ErrorOfTokenizer(TokenizerJson("null", vocab));
  };
  EXPECT_THAT(error_of("{}"), HasSubstr("no \"vocab\""));
  EXPECT_THAT(error_of("[]"), HasSubstr("no \"vocab\""));
  EXPECT_THAT(error_of(R"({"a":0,"b":0})"), HasSubstr("have one id"));
  EXPECT_THAT(error_of(R"({"a":-1})"), HasSubstr("the id of piece \"a\""));
  EXPECT_THAT(error_of(R"({"a":1000000000})"), HasSubstr("is not below 2"));
  // A gap where an added token is.
  EXPECT_EQ(error_of(R"({"a":0,"b":2})"), "accepted");
}

class TokenizerDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = ::testing::TempDir() + "/thimble_tokenizer_" + test->name();
    std::filesystem::remove_all(path_);
    std::filesystem::create_directory(path_);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  void Write(const char* name, const std::string& text) {
    std::ofstream(path_ + "/" + name) << text;
  }

  std::string path_;
};

TEST_F(TokenizerDirectory, TokenizerJsonWins) {
  Write("vocab.txt", kPieces);
  EXPECT_EQ(ReadTokenizerFiles(path_)->spec.pieces.size(), 7u);
  Write("tokenizer.json", TokenizerJson());
  EXPECT_EQ(ReadTokenizerFiles(path_)->spec.pieces.size(), 5u);
}

TEST_F(TokenizerDirectory, WithoutFilesThereIsNone) {
  const Result<TokenizerFiles> files = ReadTokenizerFiles(path_);
  ASSERT_TRUE(files);
  EXPECT_EQ(files->spec.kind, TokenizerKind::kNone);
  EXPECT_THAT(files->warnings, IsEmpty());
}

TEST_F(TokenizerDirectory, OtherTokenizersAreWarnedAbout) {
  Write("tokenizer.json", R"({"model":{"type":"BPE","vocab":{}}})");
  const Result<TokenizerFiles> bpe = ReadTokenizerFiles(path_);
  ASSERT_TRUE(bpe);
  EXPECT_EQ(bpe->spec.kind, TokenizerKind::kNone);
  EXPECT_THAT(bpe->warnings, ElementsAre(HasSubstr("\"BPE\"")));
  std::filesystem::remove(path_ + "/tokenizer.json");
  Write("vocab.txt", kPieces);
  Write("tokenizer_config.json", R"({"tokenizer_class":"BertJapaneseTokenizer"})");
  EXPECT_THAT(ReadTokenizerFiles(path_)->warnings, ElementsAre(HasSubstr("BertJapaneseTokenizer")));
}

TEST_F(TokenizerDirectory, ErrorsNameTheFile) {
  Write("vocab.txt", "");
  EXPECT_THAT(ReadTokenizerFiles(path_).error().message(), HasSubstr("vocab.txt: has no pieces"));
  Write("tokenizer.json", "{");
  EXPECT_THAT(ReadTokenizerFiles(path_).error().message(),
              HasSubstr("tokenizer.json: is not valid"));
  Write("tokenizer_config.json", R"({"strip_accents":"no"})");
  EXPECT_THAT(ReadTokenizerFiles(path_).error().message(),
              HasSubstr("tokenizer_config.json: \"strip"));
}

}  // namespace
}  // namespace thimble
