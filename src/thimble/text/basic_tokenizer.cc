#include "thimble/text/basic_tokenizer.h"

#include <algorithm>

#include "thimble/text/unicode.h"
#include "thimble/text/utf8.h"

namespace thimble {
namespace {

std::string TextOf(const NormalCharacter* begin, const NormalCharacter* end) {
  std::string text;
  for (; begin != end; ++begin) AppendUtf8(begin->code_point, text);
  return text;
}

}  // namespace

struct BasicTokenizer::Work {
  TokenList& out;
  std::string word;               // normalized
  std::vector<ByteRange> ranges;  // of its bytes
  std::vector<NormalCharacter> normal;
  std::vector<uint64_t> hashes;
};

Result<BasicTokenizer> BasicTokenizer::Create(const TokenizerSpec& spec) {
  TRY(WordPieceModel pieces, WordPieceModel::Create(spec));
  return BasicTokenizer(spec, std::move(pieces));
}

BasicTokenizer::BasicTokenizer(const TokenizerSpec& spec, WordPieceModel pieces)
    : spec_(&spec), pieces_(std::move(pieces)) {
  if (spec.basic_tokenize) {
    normalizer_ = {.clean_text = spec.clean_text,
                   .chinese_chars = spec.chinese_chars,
                   .strip_accents = spec.strip_accents.value_or(spec.lower_case),
                   .lower_case = spec.lower_case};
  } else {
    normalizer_ = {false, false, false, false};
  }
  for (const AddedToken& token : spec.added_tokens) {
    if (!token.normalized) {
      raw_tokens_.Add(token, token.text);
      continue;
    }
    std::vector<NormalCharacter> normal;
    size_t invalid = 0;
    Normalize(token.text, 0, normalizer_, normal, invalid);
    normalized_tokens_.Add(token, TextOf(normal.data(), normal.data() + normal.size()));
  }
  never_split_.insert(spec.never_split.begin(), spec.never_split.end());
  ascii_apart_ = spec.basic_tokenize && normalized_tokens_.empty() && never_split_.empty();
  for (char32_t c = 0; c < 128; ++c) {
    const uint8_t flags = FlagsOf(c);
    const bool stays = c == '\t' || c == '\n' || c == '\r' || !normalizer_.clean_text;
    kinds_[c] = (flags & UnicodeFlags::kControl) != 0 && !stays ? Ascii::kDropped
                : (flags & UnicodeFlags::kWhiteSpace) != 0      ? Ascii::kSpace
                : (flags & UnicodeFlags::kPunctuation) != 0     ? Ascii::kPunctuation
                                                                : Ascii::kWord;
    const bool upper = c >= 'A' && c <= 'Z' && normalizer_.lower_case;
    lower_[c] = static_cast<char>(upper ? c + ('a' - 'A') : c);
  }
}

void BasicTokenizer::Tokenize(std::string_view text, TokenList& out) const {
  Work work{out, {}, {}, {}, {}};
  if (raw_tokens_.empty()) return TokenizePlain(text, 0, work);
  for (const AddedTokenFinder::Part& part : raw_tokens_.Split(text)) {
    const auto begin = static_cast<uint32_t>(part.begin), end = static_cast<uint32_t>(part.end);
    if (part.id >= 0) {
      out.Add(part.id, {begin, end});
      out.EndWord();
    } else {
      TokenizePlain(text.substr(part.begin, part.end - part.begin), begin, work);
    }
  }
}

// Most text is ASCII, which needs no tables; only words with other characters take the long way. Taking
// words apart changes nothing: what ends them, blank or punctuation, neither composes nor reorders.
void BasicTokenizer::TokenizePlain(std::string_view text, uint32_t base, Work& work) const {
  if (!ascii_apart_) return TokenizeAny(text, base, work);
  for (size_t at = 0; at < text.size();) {
    at = TokenizeAsciiRun(text, at, base, work);
    if (at == text.size()) break;
    size_t end = at;
    while (end < text.size()) {
      const auto c = static_cast<uint8_t>(text[end]);
      if (c < 128 && (kinds_[c] == Ascii::kSpace || kinds_[c] == Ascii::kPunctuation)) break;
      ++end;
    }
    TokenizeAny(text.substr(at, end - at), base + static_cast<uint32_t>(at), work);
    at = end;
  }
}

// Tokenizes whole words of ASCII from `at` on; returns where a word begins that has other characters.
size_t BasicTokenizer::TokenizeAsciiRun(std::string_view text, size_t at, uint32_t base,
                                        Work& work) const {
  std::string& word = work.word;
  while (at < text.size()) {
    const size_t begin = at;
    bool dropped = false;
    word.clear();
    for (; at < text.size(); ++at) {
      const auto c = static_cast<uint8_t>(text[at]);
      if (c >= 128) return begin;
      if (kinds_[c] == Ascii::kWord) {
        word.push_back(lower_[c]);
        continue;
      }
      if (kinds_[c] != Ascii::kDropped) break;
      dropped = true;
    }
    if (dropped) {  // offsets have gaps
      TokenizeAny(text.substr(begin, at - begin), base + static_cast<uint32_t>(begin), work);
    } else if (!word.empty()) {
      pieces_.Segment({word, nullptr, base + static_cast<uint32_t>(begin)}, work.out, work.hashes);
    }
    if (at == text.size()) break;
    if (kinds_[static_cast<uint8_t>(text[at])] == Ascii::kPunctuation) {
      pieces_.Segment({text.substr(at, 1), nullptr, base + static_cast<uint32_t>(at)}, work.out,
                      work.hashes);
    }
    ++at;
  }
  return at;
}

void BasicTokenizer::TokenizeAny(std::string_view text, uint32_t base, Work& work) const {
  work.normal.clear();
  Normalize(text, base, normalizer_, work.normal, work.out.invalid_bytes);
  if (!normalized_tokens_.empty()) return SplitAtTokens(work);
  SplitWords(work.normal.data(), work.normal.data() + work.normal.size(), work);
}

void BasicTokenizer::SplitAtTokens(Work& work) const {
  const std::vector<NormalCharacter>& text = work.normal;
  std::string bytes;
  std::vector<size_t> character_at;  // of each byte, and the end
  for (size_t i = 0; i < text.size(); ++i) {
    AppendUtf8(text[i].code_point, bytes);
    character_at.resize(bytes.size(), i);
  }
  character_at.push_back(text.size());
  for (const AddedTokenFinder::Part& part : normalized_tokens_.Split(bytes)) {
    const NormalCharacter* first = text.data() + character_at[part.begin];
    const NormalCharacter* last = text.data() + character_at[part.end];
    if (part.id < 0) {
      SplitWords(first, last, work);
    } else if (first != last) {
      work.out.Add(part.id, {first->range.begin, (last - 1)->range.end});
      work.out.EndWord();
    }
  }
}

void BasicTokenizer::SplitWords(const NormalCharacter* begin, const NormalCharacter* end,
                                Work& work) const {
  const bool basic = spec_->basic_tokenize;
  // Without the basic tokenizer words are split as Python splits, which knows four more separators.
  const auto separates = [basic](const NormalCharacter& c) {
    return HasFlag(c.code_point, UnicodeFlags::kWhiteSpace) ||
           (!basic && c.code_point >= 0x1C && c.code_point <= 0x1F);
  };
  work.word.clear();
  work.ranges.clear();
  const auto flush = [&] {
    if (work.word.empty()) return;
    pieces_.Segment({work.word, work.ranges.data()}, work.out, work.hashes);
    work.word.clear();
    work.ranges.clear();
  };
  while (begin != end) {
    if (separates(*begin)) {
      ++begin;
      continue;
    }
    const NormalCharacter* blank = std::find_if(begin, end, separates);
    if (!TakeNeverSplit(begin, blank, work)) {
      for (const NormalCharacter* c = begin; c != blank; ++c) {
        const bool alone = basic && HasFlag(c->code_point, UnicodeFlags::kPunctuation);
        if (alone) flush();
        AppendUtf8(c->code_point, work.word);
        work.ranges.resize(work.word.size(), c->range);
        if (alone) flush();
      }
      flush();
    }
    begin = blank;
  }
}

bool BasicTokenizer::TakeNeverSplit(const NormalCharacter* begin, const NormalCharacter* end,
                                    Work& work) const {
  if (never_split_.empty()) return false;
  const std::string word = TextOf(begin, end);
  if (!never_split_.contains(word)) return false;
  const int32_t id = pieces_.Find(word);
  work.out.Add(id >= 0 ? id : spec_->unknown_id, {begin->range.begin, (end - 1)->range.end});
  work.out.EndWord();
  return true;
}

}  // namespace thimble
