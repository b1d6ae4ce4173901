#include "thimble/formats/huggingface/tokenizer_files.h"

#include <algorithm>
#include <utility>

#include "thimble/base/file.h"
#include "thimble/base/quote.h"
#include "thimble/formats/huggingface/tokenizer_json.h"
#include "thimble/formats/huggingface/vocabulary.h"

namespace thimble {
namespace {

constexpr size_t kMaxVocabularyBytes = size_t{32} << 20;

// Classes whose vocab.txt is one of BERT's WordPiece; others (Japanese BERT, BERTweet) use files of the
// same name for something else.
constexpr std::string_view kBertClasses[] = {"",
                                             "BertTokenizer",
                                             "DistilBertTokenizer",
                                             "MobileBertTokenizer",
                                             "ElectraTokenizer",
                                             "PreTrainedTokenizer"};

Result<TokenizerSettings> ReadSettings(const std::string& directory) {
  TRY(const Json config, ReadOptionalJsonObject(directory + "/tokenizer_config.json"));
  TRY(const Json specials, ReadOptionalJsonObject(directory + "/special_tokens_map.json"));
  TRY(const Json added, ReadOptionalJsonObject(directory + "/added_tokens.json"));
  Result<TokenizerSettings> settings = ReadTokenizerSettings(config, specials, added);
  if (!settings) return std::move(settings).error().In(directory);
  return settings;
}

Result<TokenizerFiles> FromJson(const std::string& path, const TokenizerSettings& settings) {
  TRY(const Json json, ReadJsonObject(path));
  TokenizerFiles files;
  if (!IsWordPieceJson(json)) {
    files.warnings.push_back(path + ": tokenizers of type " + Quoted(TokenizerModelName(json)) +
                             " are not handled; the model takes token ids only");
    return files;
  }
  Result<TokenizerSpec> spec = ReadTokenizerJson(json, settings);
  if (!spec) return std::move(spec).error().In(path);
  files.spec = *std::move(spec);
  return files;
}

Result<TokenizerFiles> FromVocabulary(const std::string& path, const TokenizerSettings& settings) {
  TokenizerFiles files;
  if (std::ranges::find(kBertClasses, settings.tokenizer_class) == std::end(kBertClasses)) {
    files.warnings.push_back(path + ": tokenizers of class " + Quoted(settings.tokenizer_class) +
                             " are not handled; the model takes token ids only");
    return files;
  }
  TRY(const std::string text, ReadFile(path, kMaxVocabularyBytes));
  Result<TokenizerSpec> spec = TokenizerFromVocabulary(text, settings);
  if (!spec) return std::move(spec).error().In(path);
  files.spec = *std::move(spec);
  return files;
}

}  // namespace

Result<TokenizerSpec> TokenizerFromVocabulary(std::string_view vocabulary,
                                              const TokenizerSettings& settings) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWordPiece;
  TRY(spec.pieces, ParseVocabulary(vocabulary));
  spec.basic_tokenize = settings.basic_tokenize.value_or(true);
  spec.clean_text = spec.basic_tokenize;
  spec.lower_case = spec.basic_tokenize && settings.lower_case.value_or(true);
  spec.chinese_chars = spec.basic_tokenize && settings.chinese_chars.value_or(true);
  spec.strip_accents = spec.basic_tokenize ? settings.strip_accents : false;
  spec.never_split = settings.never_split;
  AddTokens(settings, spec);
  FindSpecialIds(settings, spec);
  spec.model_max_length = settings.model_max_length;
  return spec;
}

Result<TokenizerFiles> ReadTokenizerFiles(const std::string& directory) {
  const std::string json = directory + "/tokenizer.json", vocabulary = directory + "/vocab.txt";
  const bool has_json = FileExists(json);
  if (!has_json && !FileExists(vocabulary)) return TokenizerFiles();
  TRY(const TokenizerSettings settings, ReadSettings(directory));
  TRY(TokenizerFiles files,
      has_json ? FromJson(json, settings) : FromVocabulary(vocabulary, settings));
  if (files.spec.kind != TokenizerKind::kNone) {
    const Result<Tokenizer> tokenizer = Tokenizer::Create(files.spec);
    if (!tokenizer) return Error(tokenizer.error()).In(has_json ? json : vocabulary);
  }
  return files;
}

}  // namespace thimble
