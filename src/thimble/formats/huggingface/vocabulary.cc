#include "thimble/formats/huggingface/vocabulary.h"

#include <unordered_map>

#include "thimble/base/utf8.h"

namespace thimble {
namespace {

// The first line of `rest`, which is advanced past it and its end.
std::string_view NextLine(std::string_view& rest) {
  const size_t end = rest.find_first_of("\r\n");
  const std::string_view line = rest.substr(0, end);
  if (end == rest.npos) {
    rest = {};
  } else {
    rest.remove_prefix(rest.substr(end).starts_with("\r\n") ? end + 2 : end + 1);
  }
  return line;
}

}  // namespace

std::string UnreachablePiece(size_t id) { return "[unreachable " + std::to_string(id) + "]"; }

Result<std::vector<std::string>> ParseVocabulary(std::string_view text) {
  std::vector<std::string> pieces;
  std::unordered_map<std::string_view, size_t> ids;  // of lines in `text`
  while (!text.empty()) {
    const std::string_view line = NextLine(text);
    const size_t id = pieces.size();
    if (!IsUtf8(line)) return InvalidData("line " + std::to_string(id + 1) + " is not UTF-8");
    if (line.empty()) {
      pieces.push_back(UnreachablePiece(id));
      continue;
    }
    const auto [known, is_new] = ids.try_emplace(line, id);
    if (!is_new) {
      pieces[known->second] = UnreachablePiece(known->second);
      known->second = id;
    }
    pieces.emplace_back(line);
  }
  if (ids.empty()) return InvalidData("has no pieces");
  return pieces;
}

}  // namespace thimble
