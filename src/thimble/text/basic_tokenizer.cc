#include "thimble/text/basic_tokenizer.h"

#include <algorithm>
#include <array>

#include "thimble/text/unicode.h"
#include "thimble/text/utf8.h"

namespace thimble {
namespace {

// What an ASCII character is to the tokenizer.
enum class Ascii : uint8_t { kWord, kSpace, kPunctuation, kDropped };

const std::array<Ascii, 128>& AsciiKinds() {
  static const std::array<Ascii, 128> kinds = [] {
    std::array<Ascii, 128> k{};
    for (char32_t c = 0; c < 128; ++c) {
      const uint8_t flags = FlagsOf(c);
      const bool space = (flags & UnicodeFlags::kWhiteSpace) != 0;
      const bool kept_control = c == '\t' || c == '\n' || c == '\r';
      k[c] = (flags & UnicodeFlags::kControl) != 0 && !kept_control ? Ascii::kDropped
             : space                                                ? Ascii::kSpace
             : (flags & UnicodeFlags::kPunctuation) != 0            ? Ascii::kPunctuation
                                                                    : Ascii::kWord;
    }
    return k;
  }();
  return kinds;
}

void Append(Word& word, char32_t c, ByteRange range) {
  word.starts.push_back(static_cast<uint32_t>(word.text.size()));
  word.ranges.push_back(range);
  AppendUtf8(c, word.text);
}

std::string TextOf(const NormalCharacter* begin, const NormalCharacter* end) {
  std::string text;
  for (; begin != end; ++begin) AppendUtf8(begin->code_point, text);
  return text;
}

}  // namespace

Result<BasicTokenizer> BasicTokenizer::Create(const TokenizerSpec& spec) {
  TRY(WordPieceModel pieces, WordPieceModel::Create(spec));
  BasicTokenizer t(std::move(pieces));
  t.spec_ = &spec;
  t.normalizer_ = {.clean_text = spec.clean_text,
                   .chinese_chars = spec.chinese_chars,
                   .strip_accents = spec.strip_accents.value_or(spec.lower_case),
                   .lower_case = spec.lower_case};
  if (!spec.basic_tokenize) t.normalizer_ = {false, false, false, false};
  for (const AddedToken& token : spec.added_tokens) {
    if (!token.normalized) {
      t.raw_tokens_.Add(token, token.text);
      continue;
    }
    std::vector<NormalCharacter> normal;
    size_t invalid = 0;
    Normalize(token.text, 0, t.normalizer_, normal, invalid);
    t.normalized_tokens_.Add(token, TextOf(normal.data(), normal.data() + normal.size()));
  }
  t.never_split_.insert(spec.never_split.begin(), spec.never_split.end());
  return t;
}

void BasicTokenizer::Tokenize(std::string_view text, TokenList& out) const {
  if (raw_tokens_.empty()) return TokenizePlain(text, 0, out);
  for (const AddedTokenFinder::Part& part : raw_tokens_.Split(text)) {
    const auto begin = static_cast<uint32_t>(part.begin), end = static_cast<uint32_t>(part.end);
    if (part.id >= 0) {
      out.ids.push_back(part.id);
      out.offsets.push_back({begin, end});
    } else {
      TokenizePlain(text.substr(part.begin, part.end - part.begin), begin, out);
    }
  }
}

void BasicTokenizer::TokenizePlain(std::string_view text, uint32_t base, TokenList& out) const {
  const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return c >= 0; });
  if (ascii && spec_->basic_tokenize && spec_->clean_text && normalized_tokens_.empty() &&
      never_split_.empty()) {
    return TokenizeAscii(text, base, out);
  }
  std::vector<NormalCharacter> normal;
  normal.reserve(text.size());
  Normalize(text, base, normalizer_, normal, out.invalid_bytes);
  SplitNormalized(normal, out);
}

// The same as what follows, without decoding, tables or copies: most text is this.
void BasicTokenizer::TokenizeAscii(std::string_view text, uint32_t base, TokenList& out) const {
  const std::array<Ascii, 128>& kinds = AsciiKinds();
  Word word;
  const auto flush = [&] {
    if (word.empty()) return;
    pieces_.Segment(word, out.ids, out.offsets);
    word.Clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<uint8_t>(text[i]);
    const Ascii kind = kinds[c];
    if (kind == Ascii::kDropped) continue;
    if (kind == Ascii::kSpace) {
      flush();
      continue;
    }
    if (kind == Ascii::kPunctuation) flush();
    const bool upper = c >= 'A' && c <= 'Z' && normalizer_.lower_case;
    word.starts.push_back(static_cast<uint32_t>(word.text.size()));
    word.ranges.push_back({base + static_cast<uint32_t>(i), base + static_cast<uint32_t>(i) + 1});
    word.text.push_back(static_cast<char>(upper ? c + ('a' - 'A') : c));
    if (kind == Ascii::kPunctuation) flush();
  }
  flush();
}

void BasicTokenizer::SplitNormalized(const std::vector<NormalCharacter>& text, TokenList& out) const {
  const NormalCharacter* begin = text.data();
  const NormalCharacter* end = begin + text.size();
  if (normalized_tokens_.empty()) return SplitWords(begin, end, out);
  // Bytes of the normalized text back to its characters.
  const std::string bytes = TextOf(begin, end);
  std::vector<size_t> character_at(bytes.size() + 1, text.size());
  for (size_t i = 0, at = 0; i < text.size(); ++i) {
    character_at[at] = i;
    std::string one;
    AppendUtf8(text[i].code_point, one);
    at += one.size();
  }
  for (const AddedTokenFinder::Part& part : normalized_tokens_.Split(bytes)) {
    const NormalCharacter* first = begin + character_at[part.begin];
    const NormalCharacter* last = begin + character_at[part.end];
    if (part.id < 0) {
      SplitWords(first, last, out);
    } else if (first != last) {
      out.ids.push_back(part.id);
      out.offsets.push_back({first->range.begin, (last - 1)->range.end});
    }
  }
}

void BasicTokenizer::SplitWords(const NormalCharacter* begin, const NormalCharacter* end,
                                TokenList& out) const {
  Word word;
  const auto flush = [&] {
    if (word.empty()) return;
    pieces_.Segment(word, out.ids, out.offsets);
    word.Clear();
  };
  while (begin != end) {
    if (HasFlag(begin->code_point, UnicodeFlags::kWhiteSpace)) {
      ++begin;
      continue;
    }
    const NormalCharacter* blank = std::find_if(begin, end, [](const NormalCharacter& c) {
      return HasFlag(c.code_point, UnicodeFlags::kWhiteSpace);
    });
    if (!TakeNeverSplit(begin, blank, out)) {
      for (const NormalCharacter* c = begin; c != blank; ++c) {
        const bool alone =
            spec_->basic_tokenize && HasFlag(c->code_point, UnicodeFlags::kPunctuation);
        if (alone) flush();
        Append(word, c->code_point, c->range);
        if (alone) flush();
      }
      flush();
    }
    begin = blank;
  }
}

bool BasicTokenizer::TakeNeverSplit(const NormalCharacter* begin, const NormalCharacter* end,
                                    TokenList& out) const {
  if (never_split_.empty() || !never_split_.contains(TextOf(begin, end))) return false;
  const int32_t id = pieces_.Find(TextOf(begin, end));
  out.ids.push_back(id >= 0 ? id : spec_->unknown_id);
  out.offsets.push_back({begin->range.begin, (end - 1)->range.end});
  return true;
}

}  // namespace thimble
