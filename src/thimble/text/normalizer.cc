#include "thimble/text/normalizer.h"

#include <algorithm>

#include "thimble/text/unicode.h"
#include "thimble/text/utf8.h"

namespace thimble {
namespace {

// Canonical decomposition of whole runs. Marks are put in order of their combining class, and as in the
// library a character that decomposition added shares the range of its left neighbour, wherever the
// ordering has put it; the others take the ranges of the originals one after another.
class Decomposer {
 public:
  explicit Decomposer(std::vector<NormalCharacter>& out) : out_(out) {}

  void Add(char32_t c, ByteRange range) {
    if (!HasFlag(c, UnicodeFlags::kNormalizes)) {  // a starter: what came before is complete
      Flush();
      out_.push_back({c, range});
      return;
    }
    char32_t parts[4];
    const size_t count = Decompose(c, parts);
    if (CombiningClassOf(parts[0]) == 0) Flush();
    originals_.push_back(range);
    for (size_t i = 0; i < count; ++i)
      pending_.push_back({parts[i], CombiningClassOf(parts[i]), i != 0});
  }

  void Flush() {
    if (pending_.empty()) return;
    for (auto begin = pending_.begin(); begin != pending_.end();) {
      if (begin->combining_class == 0) {
        ++begin;
        continue;
      }
      const auto end =
          std::find_if(begin, pending_.end(), [](const Part& p) { return p.combining_class == 0; });
      std::stable_sort(begin, end, [](const Part& a, const Part& b) {
        return a.combining_class < b.combining_class;
      });
      begin = end;
    }
    size_t next = 0;
    for (const Part& part : pending_) {
      ByteRange range{};
      if (!part.added) {
        range = originals_[next++];
      } else if (next > 0) {
        range = originals_[next - 1];
      } else if (!out_.empty()) {
        range = out_.back().range;
      }
      out_.push_back({part.code_point, range});
    }
    pending_.clear();
    originals_.clear();
  }

 private:
  struct Part {
    char32_t code_point;
    uint8_t combining_class;
    bool added;
  };
  std::vector<NormalCharacter>& out_;
  std::vector<Part> pending_;
  std::vector<ByteRange> originals_;
};

// Keeps what keep() says from `from` on.
template <class Keep>
void Filter(std::vector<NormalCharacter>& text, size_t from, const Keep& keep) {
  const auto first = text.begin() + static_cast<std::ptrdiff_t>(from);
  text.erase(std::remove_if(first, text.end(),
                            [&](const NormalCharacter& c) { return !keep(c.code_point); }),
             text.end());
}

// Where a lower case has several characters (U+0130) what follows has to move.
void LowerCaseGrowing(std::vector<NormalCharacter>& text, size_t from) {
  const std::vector<NormalCharacter> rest(text.begin() + static_cast<std::ptrdiff_t>(from),
                                          text.end());
  text.resize(from);
  for (const NormalCharacter& c : rest) {
    const LowerCaseLetters lower = LowerCaseOf(c.code_point);
    if (lower.count == 0) text.push_back(c);
    for (const char32_t part : lower) text.push_back({part, c.range});
  }
}

void LowerCase(std::vector<NormalCharacter>& text, size_t from) {
  for (size_t i = from; i < text.size(); ++i) {
    if (!HasFlag(text[i].code_point, UnicodeFlags::kHasLowerCase)) continue;
    const LowerCaseLetters lower = LowerCaseOf(text[i].code_point);
    if (lower.count > 1) return LowerCaseGrowing(text, i);
    text[i].code_point = lower.letters[0];
  }
}

bool IsTabOrNewline(char32_t c) { return c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

void Normalize(std::string_view text, uint32_t base, const NormalizerOptions& options,
               std::vector<NormalCharacter>& out, size_t& invalid_bytes) {
  const size_t from = out.size();
  Decomposer decomposer(out);
  const auto put = [&](char32_t c, ByteRange range) {
    if (options.strip_accents) {
      decomposer.Add(c, range);
    } else {
      out.push_back({c, range});
    }
  };
  for (size_t at = 0; at < text.size();) {
    const Utf8Character decoded = DecodeUtf8(text, at);
    const auto begin = base + static_cast<uint32_t>(at);
    const ByteRange range{begin, begin + decoded.bytes};
    at += decoded.bytes;
    if (!decoded.valid) invalid_bytes += decoded.bytes;
    char32_t c = decoded.code_point;
    const uint8_t flags = FlagsOf(c);
    if (options.clean_text) {
      if (IsTabOrNewline(c) || (flags & UnicodeFlags::kControl) == 0) {
        if (IsTabOrNewline(c) || (flags & UnicodeFlags::kWhiteSpace) != 0) c = ' ';
      } else {
        continue;
      }
    }
    if (options.chinese_chars && (flags & UnicodeFlags::kIdeograph) != 0) {
      put(' ', range);
      put(c, range);
      put(' ', range);
    } else {
      put(c, range);
    }
  }
  if (options.strip_accents) {
    decomposer.Flush();
    Filter(out, from, [](char32_t c) { return !HasFlag(c, UnicodeFlags::kNonSpacingMark); });
  }
  if (options.lower_case) LowerCase(out, from);
}

}  // namespace thimble
