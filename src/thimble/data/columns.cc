#include "thimble/data/columns.h"

#include <charconv>
#include <cmath>
#include <utility>

#include "thimble/base/quote.h"

namespace thimble {
namespace {

using Names = std::span<const std::string>;

// In order of preference: where a file has several, the first counts.
constexpr std::string_view kPairs[][2] = {{"text_a", "text_b"},         {"text", "text_pair"},
                                          {"text1", "text2"},           {"sentence1", "sentence2"},
                                          {"sentence_a", "sentence_b"}, {"question1", "question2"},
                                          {"premise", "hypothesis"},    {"#1 string", "#2 string"},
                                          {"question", "sentence"},     {"query", "passage"}};
constexpr std::string_view kTexts[] = {"text",    "sentence", "tweet",    "utterance", "content",
                                       "comment", "review",   "document", "message",   "text_a"};
constexpr std::string_view kLabels[] = {
    "label",     "labels",   "gold_label", "class", "category",   "intent",       "emotion",
    "sentiment", "polarity", "target",     "score", "similarity", "is_duplicate", "quality"};
constexpr std::string_view kScores[] = {"label_scores", "soft_labels"};
constexpr std::string_view kIds[] = {"id", "idx", "guid"};

std::optional<size_t> Find(Names names, std::string_view wanted) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (AsciiLower(names[i]) == wanted) return i;
  }
  return std::nullopt;
}

std::optional<size_t> FindAny(Names names, std::span<const std::string_view> wanted) {
  for (const std::string_view name : wanted) {
    if (const auto found = Find(names, name)) return found;
  }
  return std::nullopt;
}

std::string List(Names names) {
  std::string list;
  for (const std::string& name : names) {
    list += (list.empty() ? "" : ", ") + Quoted(name, 40);
    if (list.size() > 300) return list + ", ...";
  }
  return list;
}

Result<size_t> Chosen(Names names, const std::string& wanted) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == wanted) return i;
  }
  const auto found = Find(names, AsciiLower(wanted));
  if (!found) {
    return InvalidData("there is no column " + Quoted(wanted) + "; there are: " + List(names));
  }
  return *found;
}

}  // namespace

std::string AsciiLower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return lower;
}

std::optional<double> NumberOf(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

std::optional<size_t> UsualLabelColumn(Names names) { return FindAny(names, kLabels); }

Result<Columns> FindColumns(Names names, const DatasetOptions& options, bool label_needed) {
  Columns columns;
  std::optional<size_t> text;
  if (!options.text_column.empty()) {
    TRY(text, Chosen(names, options.text_column));
  } else {
    for (const auto& pair : kPairs) {
      const auto first = Find(names, pair[0]), second = Find(names, pair[1]);
      if (!first || !second) continue;
      text = first;
      columns.pair = second;
      break;
    }
    if (!text) text = FindAny(names, kTexts);
  }
  if (!text) {
    return InvalidData(
        "no column is called text (or text_a and text_b, sentence, ...); there are: " +
        List(names) + "; name the one that is meant");
  }
  columns.text = *text;
  if (!options.pair_column.empty()) {
    TRY(columns.pair, Chosen(names, options.pair_column));
  }
  const auto usual = UsualLabelColumn(names);
  columns.label = usual;
  if (!options.label_column.empty()) {
    TRY(columns.label, Chosen(names, options.label_column));
    columns.usual_columns = columns.label == usual;
  }
  if (columns.label) columns.label_name = AsciiLower(names[*columns.label]);
  columns.scores = FindAny(names, kScores);
  columns.id = FindAny(names, kIds);
  if (label_needed && !columns.label && !columns.scores) {
    return InvalidData("no column is called label (or labels, class, score, ...); there are: " +
                       List(names) + "; name the one that is meant");
  }
  return columns;
}

}  // namespace thimble
