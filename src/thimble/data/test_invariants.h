// What holds of every Dataset, whatever bytes it was read from; for fuzzers.
#pragma once

#include <algorithm>
#include <string_view>

#include "thimble/base/check.h"
#include "thimble/base/utf8.h"
#include "thimble/data/dataset.h"

namespace thimble {

inline void CheckLabels(const std::vector<int32_t>& labels, const Dataset& data) {
  for (const int32_t label : labels) {
    THIMBLE_CHECK(label >= 0 && static_cast<size_t>(label) < data.labels.size());
  }
}

inline void CheckExample(const Example& example, const Dataset& data) {
  THIMBLE_CHECK(!example.text.empty() && IsUtf8(example.text));
  THIMBLE_CHECK(!example.pair || IsUtf8(*example.pair));
  THIMBLE_CHECK(std::is_sorted(example.labels.begin(), example.labels.end()));
  THIMBLE_CHECK(example.labels.size() == 1 || data.task != Task::kSingleLabel);
  CheckLabels(example.labels, data);
  CheckLabels(example.word_labels, data);
  THIMBLE_CHECK(example.word_labels.size() == example.words.size());
  THIMBLE_CHECK(example.label_scores.empty() || example.label_scores.size() == data.labels.size());
  for (const float score : example.label_scores) THIMBLE_CHECK(score >= 0 && score <= 1);
  for (const AnswerText& answer : example.answers) {
    THIMBLE_CHECK(example.pair->substr(answer.begin, answer.end - answer.begin) == answer.text);
  }
}

inline void CheckReading(std::string_view bytes, DatasetFormat format) {
  for (const bool given : {false, true}) {
    DatasetOptions options{.unknown_label = UnknownLabel::kAppend, .format = format};
    if (given) options.labels = {"x", "y"};
    const Result<Dataset> data = ReadDatasetFromBytes(bytes, "bytes", options);
    if (!data.has_value()) {
      THIMBLE_CHECK(data.error().message().starts_with("bytes: "));
      continue;
    }
    THIMBLE_CHECK(!data->examples.empty() && data->report.used == data->examples.size());
    THIMBLE_CHECK(data->report.used <= data->report.rows);
    for (const Example& example : data->examples) CheckExample(example, *data);
    data->report.Lines("bytes");
  }
}

}  // namespace thimble
