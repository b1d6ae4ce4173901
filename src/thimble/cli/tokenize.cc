// thimble tokenize: lines of text to token ids.
#include <CLI/CLI.hpp>
#include <charconv>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "thimble/base/file.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/formats/huggingface/tokenizer_files.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/text/tokenizer.h"

namespace thimble::cli {
namespace {

struct TokenizeOptions {
  std::string vocabulary, tokenizer, input = "-", pair_separator;
  size_t max_length = 0;  // 0: nothing is cut off
  bool cased = false, keep_accents = false, jsonl = false, json = false;
};

Result<TokenizerSpec> ReadSpec(const TokenizeOptions& options) {
  if (!options.vocabulary.empty()) {
    TRY(const std::string pieces, ReadFile(options.vocabulary));
    TokenizerSettings settings{.lower_case = !options.cased};
    if (options.keep_accents) settings.strip_accents = false;
    Result<TokenizerSpec> spec = TokenizerFromVocabulary(pieces, settings);
    if (!spec.has_value()) return std::move(spec).error().In(options.vocabulary);
    return spec;
  }
  if (options.tokenizer.ends_with(".thimble")) {
    TRY(Model model, ReadThimble(options.tokenizer));
    return std::move(model.tokenizer);
  }
  TRY(TokenizerFiles files, ReadTokenizerFiles(options.tokenizer));
  for (const std::string& warning : files.warnings) Note(warning);
  return std::move(files.spec);
}

Result<Tokenizer> Open(const TokenizeOptions& options) {
  const std::string& place = options.vocabulary.empty() ? options.tokenizer : options.vocabulary;
  TRY(TokenizerSpec spec, ReadSpec(options));
  if (spec.kind == TokenizerKind::kNone) {
    return NotFound(place +
                    ": there is no tokenizer here; a directory needs tokenizer.json or vocab.txt");
  }
  Result<Tokenizer> tokenizer = Tokenizer::Create(std::move(spec));
  if (!tokenizer.has_value()) return std::move(tokenizer).error().In(place);
  return tokenizer;
}

// The shell's $'\t', and what people write when theirs has no such thing.
std::string Separator(const std::string& given) {
  return given == "TAB" || given == "\\t" ? "\t" : given;
}

Result<TextLine> ReadText(const std::string& line, const TokenizeOptions& options) {
  if (options.jsonl) {
    TRY(const nlohmann::json object, ParseJsonLine(line));
    return TextLineOf(object);
  }
  const size_t at =
      options.pair_separator.empty() ? std::string::npos : line.find(options.pair_separator);
  if (at == std::string::npos) return TextLine{.text = line};
  return TextLine{.text = line.substr(0, at),
                  .pair = line.substr(at + options.pair_separator.size())};
}

void AppendNumber(int64_t number, std::string& out) {
  char digits[24];
  out.append(digits, std::to_chars(digits, std::end(digits), number).ptr);
}

template <class Values>
void AppendArray(std::string_view key, const Values& values, std::string& out) {
  out.append(key).push_back('[');
  for (size_t i = 0; i < values.size(); ++i) {
    if (i != 0) out.push_back(',');
    AppendNumber(values[i], out);
  }
  out.push_back(']');
}

// Only numbers and fixed names: written directly, which is several times as fast as by a document.
void AppendJson(const Encoding& encoding, std::string& out) {
  AppendArray("{\"input_ids\":", encoding.ids, out);
  AppendArray(",\"token_type_ids\":", encoding.type_ids, out);
  AppendArray(",\"attention_mask\":", encoding.attention_mask, out);
  out += ",\"offsets\":[";
  for (size_t i = 0; i < encoding.offsets.size(); ++i) {
    out += i == 0 ? "[" : ",[";
    AppendNumber(encoding.offsets[i].begin, out);
    out.push_back(',');
    AppendNumber(encoding.offsets[i].end, out);
    out.push_back(']');
  }
  out += "]}";
}

std::string_view PieceOf(const TokenizerSpec& spec, int32_t id) {
  const auto index = static_cast<size_t>(id);
  if (index < spec.pieces.size()) return spec.pieces[index];
  for (const AddedToken& token : spec.added_tokens) {
    if (token.id == id) return token.text;
  }
  return "?";
}

void AppendPieces(const Encoding& encoding, const TokenizerSpec& spec, std::string& out) {
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    if (i != 0) out.push_back(' ');
    out += PieceOf(spec, encoding.ids[i]);
  }
}

struct TokenTotals {
  size_t texts = 0, truncated = 0, invalid = 0;
};

void NoteLosses(const TokenTotals& totals) {
  const auto of_all = [&](size_t count) {
    return std::to_string(count) + " of " + std::to_string(totals.texts) + " texts ";
  };
  if (totals.truncated != 0) {
    Note(of_all(totals.truncated) + "were longer than --max-length; their ends were cut off");
  }
  if (totals.invalid != 0) {
    Note(of_all(totals.invalid) + "are not valid UTF-8; bad bytes were read as U+FFFD");
  }
}

Status RunTokenize(TokenizeOptions options) {
  options.pair_separator = Separator(options.pair_separator);
  TRY(const Tokenizer tokenizer, Open(options));
  const EncodeOptions encode = {
      .truncation = options.max_length == 0 ? Truncation::kNone : Truncation::kLongestFirst,
      .max_length = options.max_length};
  TRY(LineReader lines, LineReader::Open(options.input));
  Progress progress("tokenizing", lines.bytes_total());
  Output output;
  TokenTotals totals;
  std::string line, result;
  for (;;) {
    TRY(const bool more, lines.Next(line));
    if (!more) break;
    const std::string place = "line " + std::to_string(lines.line_number());
    Result<TextLine> text = ReadText(line, options);
    if (!text.has_value()) return std::move(text).error().In(place);
    Result<Encoding> encoding = text->pair.has_value()
                                    ? tokenizer.EncodePair(text->text, *text->pair, encode)
                                    : tokenizer.Encode(text->text, encode);
    if (!encoding.has_value()) return std::move(encoding).error().In(place);
    totals.texts += 1;
    totals.truncated += encoding->truncated_tokens != 0;
    totals.invalid += encoding->invalid_bytes != 0;
    result.clear();
    if (options.json) {
      AppendJson(*encoding, result);
    } else {
      AppendPieces(*encoding, tokenizer.spec(), result);
    }
    TRY_VOID(output.Line(result));
    if (lines.interactive()) TRY_VOID(output.Flush());
    progress.Update(lines.bytes_read());
  }
  TRY_VOID(output.Flush());
  NoteLosses(totals);
  return {};
}

}  // namespace

Action SetupTokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::Option_group* source = app.add_option_group("tokenizer");
  source
      ->add_option("--vocab", options->vocabulary, "a vocab.txt of WordPiece; text is lower-cased")
      ->type_name("FILE");
  source
      ->add_option("--tokenizer", options->tokenizer,
                   "a Hugging Face directory (tokenizer.json, or vocab.txt and its settings), or a "
                   ".thimble file")
      ->type_name("DIR");
  source->require_option(1);
  app.add_option("FILE", options->input, "one text per line; - or nothing reads standard input");
  app.add_flag("--cased", options->cased, "with --vocab: keep case and accents");
  app.add_flag("--keep-accents", options->keep_accents,
               "with --vocab: lower-case, but keep accents and other marks");
  app.add_flag(
      "--jsonl", options->jsonl,
      "lines are objects: {\"text\"}, {\"text\", \"text_pair\"} or {\"question\", \"context\"}");
  app.add_option("--max-length", options->max_length,
                 "cut longer inputs to this many tokens, special ones included")
      ->check(CLI::Range(size_t{1}, size_t{1} << 30).description(""))
      ->type_name("N");
  app.add_option("--pair-separator", options->pair_separator,
                 "what stands between the two texts of a line: TAB, or any text")
      ->type_name("TEXT");
  app.add_flag(
      "--json", options->json,
      "one object per line: input_ids, token_type_ids, attention_mask, offsets (in bytes)");
  return [options] { return RunTokenize(*options); };
}

}  // namespace thimble::cli
