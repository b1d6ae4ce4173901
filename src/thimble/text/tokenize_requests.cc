// Answers tokenizer requests, one JSON object a line, on standard input and output: the other half of
// tools/compare_tokenizers.mjs, and nothing that is installed.
//
//   {"configure":{"vocab":"vocab.txt","lower_case":true,"added_tokens":[…],…}}  -> {"create_ms"}
//   {"text":"…","pair":"…","max_length":32,"truncation":"only_first","pad_to":32}
//                                      -> {"ids","type_ids","mask","offsets":[begin,end,begin,end,…]}
//   {"question":"…","context":"…","max_length":32,"stride":8}                    -> {"windows":[…]}
//   {"texts":"texts.json"} reads an array of texts, {"time":true} encodes them   -> {"seconds","tokens"}, processor time
// A request that cannot be met is answered with {"error"}.
#include <algorithm>
#include <ctime>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "thimble/base/clock.h"
#include "thimble/base/file.h"
#include "thimble/text/tokenizer.h"

namespace thimble {
namespace {

using Json = nlohmann::json;

// As vocab.txt is read: a piece a line, and only line feeds end lines.
Result<std::vector<std::string>> ReadVocabulary(const std::string& path) {
  TRY(const std::string bytes, ReadFile(path));
  std::vector<std::string> pieces;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', at), bytes.size());
    pieces.emplace_back(bytes, at, end - at);
    at = end + 1;
  }
  return pieces;
}

AddedToken AddedTokenFrom(const Json& json) {
  AddedToken token;
  token.id = json.value("id", 0);
  token.text = json.value("content", "");
  token.special = json.value("special", false);
  token.normalized = json.value("normalized", false);
  token.single_word = json.value("single_word", false);
  token.lstrip = json.value("lstrip", false);
  token.rstrip = json.value("rstrip", false);
  return token;
}

Result<TokenizerSpec> SpecFrom(const Json& json) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWordPiece;
  TRY(spec.pieces, ReadVocabulary(json.value("vocab", "")));
  spec.basic_tokenize = json.value("basic_tokenize", true);
  spec.clean_text = json.value("clean_text", true);
  spec.lower_case = json.value("lower_case", true);
  spec.chinese_chars = json.value("chinese_chars", true);
  if (json.contains("strip_accents")) spec.strip_accents = json["strip_accents"].get<bool>();
  spec.max_word_chars = json.value("max_word_chars", 100);
  for (const Json& token : json.value("added_tokens", Json::array())) {
    spec.added_tokens.push_back(AddedTokenFrom(token));
  }
  std::map<std::string, int32_t> ids;
  for (size_t i = 0; i < spec.pieces.size(); ++i) ids[spec.pieces[i]] = static_cast<int32_t>(i);
  const auto id_of = [&](const char* piece) {
    const auto found = ids.find(piece);
    return found == ids.end() ? -1 : found->second;
  };
  spec.unknown_id = id_of("[UNK]");
  spec.cls_id = id_of("[CLS]");
  spec.sep_id = id_of("[SEP]");
  spec.pad_id = id_of("[PAD]");
  spec.mask_id = id_of("[MASK]");
  return spec;
}

EncodeOptions OptionsFrom(const Json& json) {
  EncodeOptions options;
  options.max_length = json.value("max_length", size_t{0});
  options.pad_to = json.value("pad_to", size_t{0});
  options.add_special_tokens = json.value("special", true);
  const std::string truncation = json.value("truncation", "longest_first");
  if (truncation == "only_first") options.truncation = Truncation::kOnlyFirst;
  if (truncation == "only_second") options.truncation = Truncation::kOnlySecond;
  return options;
}

Json ToJson(const Encoding& encoding) {
  std::vector<uint32_t> offsets;
  for (const ByteRange& range : encoding.offsets) {
    offsets.push_back(range.begin);
    offsets.push_back(range.end);
  }
  return {{"ids", encoding.ids},
          {"type_ids", encoding.type_ids},
          {"mask", encoding.attention_mask},
          {"offsets", offsets}};
}

class Server {
 public:
  Result<Json> Answer(const Json& request) {
    if (request.contains("configure")) return Configure(request["configure"]);
    if (!tokenizer_) return InvalidArgument("configure first");
    if (request.contains("texts")) return ReadTexts(request["texts"].get<std::string>());
    if (request.contains("time")) return Time();
    if (request.contains("question")) return Windows(request);
    const auto text = request["text"].get<std::string>();
    if (!request.contains("pair")) {
      TRY(const Encoding encoding, tokenizer_->Encode(text, OptionsFrom(request)));
      return ToJson(encoding);
    }
    TRY(const Encoding encoding,
        tokenizer_->EncodePair(text, request["pair"].get<std::string>(), OptionsFrom(request)));
    return ToJson(encoding);
  }

 private:
  Result<Json> Configure(const Json& request) {
    TRY(TokenizerSpec spec, SpecFrom(request));
    const auto start = Clock::now();
    TRY(Tokenizer tokenizer, Tokenizer::Create(std::move(spec)));
    const double seconds = SecondsSince(start);
    tokenizer_ = std::move(tokenizer);
    return Json{{"create_ms", seconds * 1e3}};
  }

  Result<Json> ReadTexts(const std::string& path) {
    TRY(const std::string bytes, ReadFile(path));
    texts_ = Json::parse(bytes).get<std::vector<std::string>>();
    return Json{{"texts", texts_.size()}};
  }

  Result<Json> Time() {
    size_t tokens = 0;
    const std::clock_t start = std::clock();
    for (const std::string& text : texts_) {
      TRY(const Encoding encoding, tokenizer_->Encode(text));
      tokens += encoding.ids.size();
    }
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    return Json{{"seconds", seconds}, {"tokens", tokens}};
  }

  Result<Json> Windows(const Json& request) {
    TRY(const std::vector<Encoding> windows,
        tokenizer_->EncodeWindows(
            request["question"].get<std::string>(), request["context"].get<std::string>(),
            request.value("max_length", size_t{0}), request.value("stride", size_t{0})));
    Json out = Json::array();
    for (const Encoding& window : windows) out.push_back(ToJson(window));
    return Json{{"windows", out}};
  }

  std::optional<Tokenizer> tokenizer_;
  std::vector<std::string> texts_;
};

}  // namespace
}  // namespace thimble

int main() {
  std::ios::sync_with_stdio(false);
  thimble::Server server;
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto answer = server.Answer(thimble::Json::parse(line));
    const thimble::Json out = answer ? *answer : thimble::Json{{"error", answer.error().message()}};
    std::cout << out.dump() << '\n' << std::flush;
  }
}
