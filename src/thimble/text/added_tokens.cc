#include "thimble/text/added_tokens.h"

#include <algorithm>

#include "thimble/text/unicode.h"
#include "thimble/text/utf8.h"

namespace thimble {
namespace {

bool StartsWithWord(std::string_view text) {
  return !text.empty() && HasFlag(DecodeUtf8(text, 0).code_point, UnicodeFlags::kWord);
}

// Start of the last character.
size_t LastCharacter(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool EndsWithWord(std::string_view text) {
  return !text.empty() &&
         HasFlag(DecodeUtf8(text, LastCharacter(text)).code_point, UnicodeFlags::kWord);
}

// Where the white space at the end of the text begins, and at its start ends.
size_t WhiteSpaceAtEnd(std::string_view text) {
  while (!text.empty()) {
    const size_t last = LastCharacter(text);
    if (!HasFlag(DecodeUtf8(text, last).code_point, UnicodeFlags::kWhiteSpace)) break;
    text = text.substr(0, last);
  }
  return text.size();
}

size_t WhiteSpaceAtStart(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Character c = DecodeUtf8(text, at);
    if (!HasFlag(c.code_point, UnicodeFlags::kWhiteSpace)) break;
    at += c.bytes;
  }
  return at;
}

}  // namespace

void AddedTokenFinder::Add(const AddedToken& token, std::string text_to_find) {
  if (text_to_find.empty()) return;
  begins_with_[static_cast<uint8_t>(text_to_find[0])] = true;
  const auto longer = [&](const Entry& e) { return e.text.size() < text_to_find.size(); };
  const auto place = std::find_if(tokens_.begin(), tokens_.end(), longer);
  tokens_.insert(place, {std::move(text_to_find), token});
}

const AddedTokenFinder::Entry* AddedTokenFinder::LongestAt(std::string_view text, size_t at) const {
  if (!begins_with_[static_cast<uint8_t>(text[at])]) return nullptr;
  for (const Entry& entry : tokens_) {
    if (text.compare(at, entry.text.size(), entry.text) == 0) return &entry;
  }
  return nullptr;
}

std::vector<AddedTokenFinder::Part> AddedTokenFinder::Split(std::string_view text) const {
  std::vector<Part> parts;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const Entry* found = LongestAt(text, at);
    if (found == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + found->text.size();
    at = end;
    if (found->token.single_word &&
        (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end)))) {
      continue;
    }
    if (end <= done) continue;  // white space that the token before has taken
    if (found->token.lstrip) begin = std::max(WhiteSpaceAtEnd(text.substr(0, begin)), done);
    if (found->token.rstrip) end += WhiteSpaceAtStart(text.substr(end));
    if (done < begin) parts.push_back({-1, done, begin});
    parts.push_back({found->token.id, begin, end});
    done = end;
  }
  if (done < text.size()) parts.push_back({-1, done, text.size()});
  return parts;
}

}  // namespace thimble
