#include "thimble/data/label_set.h"

#include <algorithm>
#include <charconv>

#include "thimble/base/file.h"
#include "thimble/base/quote.h"
#include "thimble/base/utf8.h"
#include "thimble/data/columns.h"
#include "thimble/data/line_stream.h"

namespace thimble {
namespace {

std::optional<int64_t> IntegerOf(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::unordered_map<std::string, int32_t> IndexOf(const std::vector<std::string>& names) {
  std::unordered_map<std::string, int32_t> index;
  for (size_t i = 0; i < names.size(); ++i) index.emplace(names[i], static_cast<int32_t>(i));
  return index;
}

}  // namespace

Result<std::vector<std::string>> ReadLabelsBeside(const std::string& data_path) {
  const size_t slash = data_path.rfind('/');
  const std::string path =
      (slash == std::string::npos ? "" : data_path.substr(0, slash + 1)) + "labels.txt";
  std::vector<std::string> names;
  if (!FileExists(path)) return names;
  TRY(ByteSource source, ByteSource::Open(path));
  LineStream lines(std::move(source));
  std::string_view line;
  for (;;) {
    Result<bool> more = lines.Next(line);
    if (!more.has_value()) return std::move(more).error().In(path);
    if (!*more) break;
    if (line.empty()) continue;
    std::string_view name = line;
    if (const size_t tab = line.find('\t'); tab != std::string_view::npos) {
      if (IntegerOf(line.substr(0, tab)) != static_cast<int64_t>(names.size())) {
        return InvalidData(path + ": line " + std::to_string(lines.line_number()) +
                           ": the index should be " + std::to_string(names.size()) +
                           "; lines are: index TAB name");
      }
      name = line.substr(tab + 1);
      name = name.substr(0, name.find('\t'));
    }
    if (name.empty() || !IsUtf8(name) ||
        std::find(names.begin(), names.end(), name) != names.end()) {
      return InvalidData(path + ": line " + std::to_string(lines.line_number()) +
                         ": the name is empty, repeated or not UTF-8");
    }
    names.emplace_back(name);
  }
  return names;
}

std::vector<std::string> SortedNames(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (std::all_of(names.begin(), names.end(), [](const auto& n) { return IntegerOf(n); })) {
    std::stable_sort(names.begin(), names.end(),
                     [](const auto& a, const auto& b) { return *IntegerOf(a) < *IntegerOf(b); });
  }
  return names;
}

LabelSet::LabelSet(std::vector<std::string> labels, std::vector<std::string> published)
    : labels_(std::move(labels)),
      published_(std::move(published)),
      index_(IndexOf(labels_)),
      published_index_(IndexOf(published_)) {
  unnamed_ = !labels_.empty();
  for (size_t i = 0; i < labels_.size(); ++i) {
    unnamed_ = unnamed_ && labels_[i] == "LABEL_" + std::to_string(i);
    const auto [entry, is_new] = lower_.emplace(AsciiLower(labels_[i]), static_cast<int32_t>(i));
    if (!is_new) entry->second = -1;
  }
}

std::optional<int32_t> LabelSet::Exact(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) return std::nullopt;
  return found->second;
}

std::optional<int32_t> LabelSet::Find(const std::string& name) {
  const auto [entry, is_new] = found_.try_emplace(name);
  if (is_new) entry->second = Look(name);
  return entry->second;
}

std::optional<int32_t> LabelSet::Look(const std::string& name) {
  if (const auto exact = Exact(name)) return exact;
  const std::optional<int64_t> number = IntegerOf(name);
  if (number && *number >= 0 && static_cast<uint64_t>(*number) < published_.size()) {
    const std::string& published = published_[static_cast<size_t>(*number)];
    if (const auto exact = Exact(published)) return exact;
    if (const auto other_case = AnyCase(published)) return other_case;
  }
  if (const auto other_case = AnyCase(name)) return other_case;
  return Unnamed(name);
}

std::optional<int32_t> LabelSet::AnyCase(const std::string& name) {
  const auto found = lower_.find(AsciiLower(name));
  if (found == lower_.end() || found->second < 0) return std::nullopt;
  Note("labels differ in case only and were taken as the same: " + Quoted(name, 40) + " is " +
       Quoted(labels_[static_cast<size_t>(found->second)], 40));
  return found->second;
}

std::optional<int32_t> LabelSet::Unnamed(const std::string& name) {
  if (!unnamed_) return std::nullopt;
  std::optional<int64_t> index = IntegerOf(name);
  if (const auto found = published_index_.find(name); found != published_index_.end()) {
    index = found->second;
  }
  if (!index || *index < 0 || static_cast<uint64_t>(*index) >= labels_.size()) return std::nullopt;
  Note(
      "the label set has no names, only LABEL_0, LABEL_1, ...; labels were matched by their index");
  return static_cast<int32_t>(*index);
}

int32_t LabelSet::Append(const std::string& name) {
  const auto index = static_cast<int32_t>(labels_.size());
  labels_.push_back(name);
  index_.emplace(name, index);
  found_[name] = index;
  return index;
}

void LabelSet::Note(std::string text) {
  // One of each way is enough: compare up to the first colon.
  const auto way = [](const std::string& note) { return note.substr(0, note.find(':')); };
  for (const std::string& note : notes_) {
    if (way(note) == way(text)) return;
  }
  notes_.push_back(std::move(text));
}

}  // namespace thimble
