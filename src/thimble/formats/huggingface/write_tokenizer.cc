#include "thimble/formats/huggingface/write_tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "thimble/formats/huggingface/vocabulary.h"

namespace thimble {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct TokenRole {
  const char* key;
  int32_t TokenizerSpec::*id;
};
constexpr TokenRole kTokenRoles[] = {
    {"cls_token", &TokenizerSpec::cls_id},     {"mask_token", &TokenizerSpec::mask_id},
    {"pad_token", &TokenizerSpec::pad_id},     {"sep_token", &TokenizerSpec::sep_id},
    {"unk_token", &TokenizerSpec::unknown_id},
};

// Architectures with a tokenizer class of their own that is BERT's by another name.
constexpr std::string_view kOwnClasses[] = {"DistilBert", "MobileBert"};

std::string TextOf(const TokenizerSpec& spec, int32_t id) {
  const auto added = std::ranges::find(spec.added_tokens, id, &AddedToken::id);
  return added != spec.added_tokens.end() ? added->text : spec.pieces[static_cast<size_t>(id)];
}

// Each piece once, under its last id, and without what stands for added tokens behind the vocabulary.
std::vector<std::string> Vocabulary(const TokenizerSpec& spec) {
  std::vector<std::string> pieces = spec.pieces;
  std::unordered_map<std::string_view, size_t> last;
  for (size_t i = 0; i < spec.pieces.size(); ++i) last[spec.pieces[i]] = i;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (last[spec.pieces[i]] != i) pieces[i] = UnreachablePiece(i);
  }
  const auto stands_for_added = [&](size_t id) {
    return pieces[id] == UnreachablePiece(id) &&
           std::ranges::find(spec.added_tokens, static_cast<int32_t>(id), &AddedToken::id) !=
               spec.added_tokens.end();
  };
  while (!pieces.empty() && stands_for_added(pieces.size() - 1)) pieces.pop_back();
  return pieces;
}

OrderedJson TokenJson(const AddedToken& token) {
  return {{"content", token.text},  {"single_word", token.single_word}, {"lstrip", token.lstrip},
          {"rstrip", token.rstrip}, {"normalized", token.normalized},   {"special", token.special}};
}

OrderedJson OptionalFlag(const std::optional<bool>& flag) {
  return flag.has_value() ? OrderedJson(*flag) : OrderedJson(nullptr);
}

OrderedJson Normalizer(const TokenizerSpec& spec) {
  if (!spec.basic_tokenize) return nullptr;
  return {{"type", "BertNormalizer"},
          {"clean_text", spec.clean_text},
          {"handle_chinese_chars", spec.chinese_chars},
          {"strip_accents", OptionalFlag(spec.strip_accents)},
          {"lowercase", spec.lower_case}};
}

OrderedJson PostProcessor(const TokenizerSpec& spec) {
  const std::string cls = TextOf(spec, spec.cls_id), sep = TextOf(spec, spec.sep_id);
  const auto special = [](const std::string& token, int type) {
    return OrderedJson{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* name, int type) {
    return OrderedJson{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  const auto token = [](const std::string& text, int32_t id) {
    return OrderedJson{
        {"id", text}, {"ids", OrderedJson::array({id})}, {"tokens", OrderedJson::array({text})}};
  };
  const OrderedJson begin = special(cls, 0), first = sequence("A", 0), end = special(sep, 0);
  return {{"type", "TemplateProcessing"},
          {"single", OrderedJson::array({begin, first, end})},
          {"pair", OrderedJson::array({begin, first, end, sequence("B", 1), special(sep, 1)})},
          {"special_tokens", {{cls, token(cls, spec.cls_id)}, {sep, token(sep, spec.sep_id)}}}};
}

OrderedJson TokenizerJson(const TokenizerSpec& spec, const std::vector<std::string>& pieces) {
  OrderedJson added = OrderedJson::array();
  for (const AddedToken& token : spec.added_tokens) {
    OrderedJson entry = {{"id", token.id}};
    entry.update(TokenJson(token));
    added.push_back(std::move(entry));
  }
  // In the order of ids: as a list of pairs, for looking up each key would take quadratic time.
  OrderedJson vocabulary = OrderedJson::object();
  auto& entries = vocabulary.get_ref<OrderedJson::object_t&>();
  entries.reserve(pieces.size());
  for (size_t id = 0; id < pieces.size(); ++id) entries.push_back({pieces[id], id});
  const OrderedJson model = {{"type", "WordPiece"},
                             {"unk_token", TextOf(spec, spec.unknown_id)},
                             {"continuing_subword_prefix", spec.continuing_prefix},
                             {"max_input_chars_per_word", spec.max_word_chars},
                             {"vocab", std::move(vocabulary)}};
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", std::move(added)},
      {"normalizer", Normalizer(spec)},
      {"pre_tokenizer", {{"type", spec.basic_tokenize ? "BertPreTokenizer" : "WhitespaceSplit"}}},
      {"post_processor", PostProcessor(spec)},
      {"decoder", {{"type", "WordPiece"}, {"prefix", spec.continuing_prefix}, {"cleanup", true}}},
      {"model", model}};
}

OrderedJson TokenizerConfig(const TokenizerSpec& spec, const std::string& tokenizer_class) {
  OrderedJson decoder = OrderedJson::object();
  OrderedJson additional = OrderedJson::array();
  for (const AddedToken& token : spec.added_tokens) {
    decoder[std::to_string(token.id)] = TokenJson(token);
    const bool has_role = std::ranges::any_of(
        kTokenRoles, [&](const TokenRole& role) { return spec.*role.id == token.id; });
    if (token.special && !has_role) additional.push_back(token.text);
  }
  OrderedJson config = {{"added_tokens_decoder", std::move(decoder)}};
  if (!additional.empty()) config["additional_special_tokens"] = std::move(additional);
  config["clean_up_tokenization_spaces"] = true;
  config["do_basic_tokenize"] = spec.basic_tokenize;
  config["do_lower_case"] = spec.lower_case;
  if (spec.model_max_length > 0) config["model_max_length"] = spec.model_max_length;
  config["never_split"] =
      spec.never_split.empty() ? OrderedJson(nullptr) : OrderedJson(spec.never_split);
  config["strip_accents"] = OptionalFlag(spec.strip_accents);
  config["tokenize_chinese_chars"] = spec.chinese_chars;
  config["tokenizer_class"] = tokenizer_class;
  // null says that there is none: the classes would otherwise add one of the usual name.
  for (const TokenRole& role : kTokenRoles) {
    config[role.key] =
        spec.*role.id < 0 ? OrderedJson(nullptr) : OrderedJson(TextOf(spec, spec.*role.id));
  }
  return config;
}

OrderedJson SpecialTokensMap(const TokenizerSpec& spec) {
  OrderedJson map = OrderedJson::object();
  for (const TokenRole& role : kTokenRoles) {
    if (spec.*role.id >= 0) map[role.key] = TextOf(spec, spec.*role.id);
  }
  return map;
}

std::string Text(const OrderedJson& json, int indent) {
  return json.dump(indent, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

bool FitsLines(const std::vector<std::string>& pieces) {
  return std::ranges::none_of(pieces, [](const std::string& piece) {
    return piece.empty() || piece.find_first_of("\r\n") != piece.npos;
  });
}

}  // namespace

std::map<std::string, std::string> WriteTokenizerFiles(const TokenizerSpec& spec,
                                                       std::string_view class_prefix) {
  std::map<std::string, std::string> files;
  if (spec.kind != TokenizerKind::kWordPiece) return files;
  const std::vector<std::string> pieces = Vocabulary(spec);
  // DistilBERT and MobileBERT have classes of the same tokenizer by their own names.
  const bool has_own = std::ranges::find(kOwnClasses, class_prefix) != std::end(kOwnClasses);
  // BERT's classes override parts of a normalizer, which there has to be for that.
  const std::string tokenizer_class =
      spec.basic_tokenize || !spec.never_split.empty()
          ? std::string(has_own ? class_prefix : "Bert") + "Tokenizer"
          : "PreTrainedTokenizerFast";
  const bool has_roles = spec.unknown_id >= 0 && spec.cls_id >= 0 && spec.sep_id >= 0;
  if (spec.never_split.empty() && has_roles) {
    files["tokenizer.json"] = Text(TokenizerJson(spec, pieces), -1);
  }
  if (tokenizer_class != "PreTrainedTokenizerFast" && FitsLines(pieces)) {
    std::string& lines = files["vocab.txt"];
    for (const std::string& piece : pieces) lines += piece + "\n";
  }
  files["tokenizer_config.json"] = Text(TokenizerConfig(spec, tokenizer_class), 2);
  files["special_tokens_map.json"] = Text(SpecialTokensMap(spec), 2);
  return files;
}

}  // namespace thimble
