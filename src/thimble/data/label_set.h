// Names of labels and what a file may call them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "thimble/base/result.h"

namespace thimble {

// labels.txt beside a data set: `index TAB name` a line (further columns are left out), or one name a line; in
// order. Empty where there is no such file. An error where it is something else.
Result<std::vector<std::string>> ReadLabelsBeside(const std::string& data_path);

// The distinct names, integers by value, others by their bytes.
std::vector<std::string> SortedNames(std::vector<std::string> names);

// Finds labels as files write them. In this order:
//   1. the name itself;
//   2. an index into the publisher's names (labels.txt), then that name;
//   3. the same name in another case of ASCII, where only one label has it;
//   4. where the labels are only LABEL_0, LABEL_1, ... (a model that was saved without names): the index,
//      or the publisher's index of the name.
class LabelSet {
 public:
  LabelSet(std::vector<std::string> labels, std::vector<std::string> published);

  std::optional<int32_t> Find(const std::string& name);
  int32_t Append(const std::string& name);

  const std::vector<std::string>& labels() const { return labels_; }
  // How names were found that are not written as in the set, once each way.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  std::optional<int32_t> Exact(const std::string& name) const;
  std::optional<int32_t> Look(const std::string& name);
  std::optional<int32_t> AnyCase(const std::string& name);
  std::optional<int32_t> Unnamed(const std::string& name);
  void Note(std::string text);

  std::vector<std::string> labels_, published_;
  std::unordered_map<std::string, int32_t> index_, published_index_;
  std::unordered_map<std::string, int32_t> lower_;  // -1: not unique
  std::unordered_map<std::string, std::optional<int32_t>> found_;
  bool unnamed_ = false;  // LABEL_0, LABEL_1, ...
  std::vector<std::string> notes_;
};

}  // namespace thimble
