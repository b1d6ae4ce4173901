#include "thimble/metrics/squad.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "thimble/text/unicode.h"
#include "thimble/text/utf8.h"

namespace thimble {
namespace {

bool IsAsciiPunctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

// As Python's split() and \w see characters.
bool IsBlank(char32_t c) {
  return HasFlag(c, UnicodeFlags::kWhiteSpace) || (c >= 0x1C && c <= 0x1F);
}
bool IsWordCharacter(char32_t c) {
  return HasFlag(c, UnicodeFlags::kWord) && !HasFlag(c, UnicodeFlags::kNonSpacingMark);
}

std::u32string LowerWithoutPunctuation(std::string_view text) {
  std::u32string out;
  for (size_t at = 0; at < text.size();) {
    const Utf8Character c = DecodeUtf8(text, at);
    at += c.bytes;
    if (IsAsciiPunctuation(c.code_point)) continue;
    const LowerCaseLetters lower = LowerCaseOf(c.code_point);
    if (lower.count == 0) out.push_back(c.code_point);
    for (const char32_t part : lower) out.push_back(part);
  }
  return out;
}

bool IsArticle(std::u32string_view word) { return word == U"a" || word == U"an" || word == U"the"; }

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const size_t blank = text.find(' ');
    words.push_back(text.substr(0, blank));
    text.remove_prefix(std::min(text.size(), words.back().size() + 1));
  }
  return words;
}

double F1OfNormalized(std::string_view predicted, std::string_view gold) {
  const std::vector<std::string_view> a = Words(predicted), b = Words(gold);
  if (a.empty() || b.empty()) return a.empty() && b.empty() ? 1 : 0;
  std::unordered_map<std::string_view, int> left;
  for (const std::string_view word : b) ++left[word];
  int shared = 0;
  for (const std::string_view word : a) {
    const auto found = left.find(word);
    if (found != left.end() && found->second-- > 0) ++shared;
  }
  // 2PR / (P + R), with both quotients of the shared words.
  return 2.0 * shared / static_cast<double>(a.size() + b.size());
}

// The best over the gold answers that say anything; an empty one where none does.
template <class Compare>
double BestOver(std::string_view predicted, std::span<const AnswerText> gold,
                const Compare& compare) {
  const std::string mine = NormalizeAnswer(predicted);
  double best = 0;
  bool any = false;
  for (const AnswerText& answer : gold) {
    const std::string theirs = NormalizeAnswer(answer.text);
    if (theirs.empty()) continue;
    any = true;
    best = std::max(best, compare(mine, theirs));
  }
  return any ? best : compare(mine, std::string());
}

}  // namespace

std::string NormalizeAnswer(std::string_view text) {
  const std::u32string lower = LowerWithoutPunctuation(text);
  std::string out;
  bool blank = false;
  for (size_t at = 0; at < lower.size();) {
    size_t end = at;
    while (end < lower.size() && IsWordCharacter(lower[end])) ++end;
    if (end > at && IsArticle(std::u32string_view(lower).substr(at, end - at))) {
      blank = true;
      at = end;
      continue;
    }
    if (end == at) ++end;
    for (; at < end; ++at) {
      if (IsBlank(lower[at])) {
        blank = true;
        continue;
      }
      if (blank && !out.empty()) out.push_back(' ');
      blank = false;
      AppendUtf8(lower[at], out);
    }
  }
  return out;
}

double ExactMatch(std::string_view predicted, std::span<const AnswerText> gold) {
  return BestOver(predicted, gold,
                  [](const std::string& a, const std::string& b) { return a == b ? 1.0 : 0.0; });
}

double AnswerF1(std::string_view predicted, std::span<const AnswerText> gold) {
  return BestOver(predicted, gold, F1OfNormalized);
}

}  // namespace thimble
