#include "thimble/train/examples.h"

#include <algorithm>

#include "thimble/train/kernels/kernels.h"

namespace thimble::train {
namespace {

// First and last token of the context that overlap bytes [begin, end); {0, 0} if this window does not hold
// all of them.
std::vector<int32_t> AnswerTokens(const Encoding& e, uint32_t begin, uint32_t end) {
  int32_t first = -1, last = -1;
  uint32_t window_begin = UINT32_MAX, window_end = 0;
  for (size_t t = 0; t < e.ids.size(); ++t) {
    if (e.sequence[t] != 1) continue;
    window_begin = std::min(window_begin, e.offsets[t].begin);
    window_end = std::max(window_end, e.offsets[t].end);
    if (e.offsets[t].begin >= end || e.offsets[t].end <= begin) continue;
    if (first < 0) first = static_cast<int32_t>(t);
    last = static_cast<int32_t>(t);
  }
  if (first < 0 || begin < window_begin || end > window_end) return {0, 0};
  return {first, last};
}

// The label of each word on its first token. The text is the words joined by one blank each.
std::vector<int32_t> TokenLabels(const Encoding& e, const Example& row) {
  std::vector<int32_t> labels(e.ids.size(), kIgnored);
  uint32_t begin = 0;
  size_t token = 0;
  for (size_t w = 0; w < row.words.size(); ++w) {
    const auto end = static_cast<uint32_t>(begin + row.words[w].size());
    while (token < e.ids.size() && (e.sequence[token] != 0 || e.offsets[token].end <= begin)) {
      ++token;
    }
    if (token < e.ids.size() && e.offsets[token].begin < end) labels[token] = row.word_labels[w];
    begin = end + 1;
  }
  return labels;
}

class Encoder {
 public:
  Encoder(Task task, const Tokenizer& tokenizer, const EncodeForTrainingOptions& options)
      : task_(task), tokenizer_(tokenizer), options_(options) {}

  Status Add(const Example& row, size_t index) {
    const EncodeOptions encode{.max_length = options_.max_length};
    if (task_ == Task::kAnswers) return AddWindows(row, index);
    TRY(const Encoding e, row.pair.has_value() ? tokenizer_.EncodePair(row.text, *row.pair, encode)
                                               : tokenizer_.Encode(row.text, encode));
    TrainingExample example = Start(e, index);
    example.labels = task_ == Task::kTokenLabels ? TokenLabels(e, row) : row.labels;
    example.scores = row.label_scores;
    example.value = row.value;
    Keep(std::move(example), e.truncated_tokens > 0);
    return {};
  }

  TrainingData Finish() && { return std::move(data_); }

 private:
  Status AddWindows(const Example& row, size_t index) {
    TRY(const std::vector<Encoding> windows,
        tokenizer_.EncodeWindows(row.text, *row.pair, options_.max_length, options_.answer_stride));
    bool found = row.answers.empty();
    for (const Encoding& e : windows) {
      TrainingExample example = Start(e, index);
      example.labels = {0, 0};
      if (!row.answers.empty()) {
        example.labels = AnswerTokens(e, row.answers[0].begin, row.answers[0].end);
        found = found || example.labels[1] > 0;
      }
      Keep(std::move(example), false);
    }
    if (!found) ++data_.lost_answers;
    return {};
  }

  TrainingExample Start(const Encoding& e, size_t index) const {
    TrainingExample example;
    example.ids = e.ids;
    example.type_ids = e.type_ids;
    example.source = index;
    return example;
  }

  void Keep(TrainingExample example, bool truncated) {
    example.number = data_.examples.size();
    example.key = ExampleKey(example.number);
    data_.truncated += truncated ? 1 : 0;
    data_.tokens += example.ids.size();
    data_.examples.push_back(std::move(example));
  }

  Task task_;
  const Tokenizer& tokenizer_;
  const EncodeForTrainingOptions& options_;
  TrainingData data_;
};

}  // namespace

Result<TrainingData> EncodeForTraining(const Dataset& data, Task task, const Tokenizer& tokenizer,
                                       const EncodeForTrainingOptions& options) {
  Encoder encoder(task, tokenizer, options);
  for (size_t i = 0; i < data.examples.size(); ++i) {
    if (Status s = encoder.Add(data.examples[i], i); !s.has_value()) {
      return Error(s.error()).In(data.path + ": line " + std::to_string(data.examples[i].line));
    }
  }
  return std::move(encoder).Finish();
}

uint32_t ExampleKey(size_t index) { return MixKeys(0x7a11u, static_cast<uint32_t>(index)); }

Result<TrainingExample> EncodeText(const Tokenizer& tokenizer, const std::string& text,
                                   const std::optional<std::string>& pair, size_t max_length) {
  const EncodeOptions options{.max_length = max_length, .pad_to = 1};
  TRY(Encoding e, pair.has_value() ? tokenizer.EncodePair(text, *pair, options)
                                   : tokenizer.Encode(text, options));
  TrainingExample example;
  example.ids = std::move(e.ids);
  example.type_ids = std::move(e.type_ids);
  return example;
}

std::vector<std::string> SplitSentences(std::string_view paragraph, size_t least) {
  std::vector<std::string> sentences;
  size_t begin = 0;
  for (size_t i = 0; i + 1 < paragraph.size(); ++i) {
    const char c = paragraph[i];
    const bool ends = (c == '.' || c == '!' || c == '?') && paragraph[i + 1] == ' ';
    if (!ends || i + 1 - begin < least) continue;
    sentences.emplace_back(paragraph.substr(begin, i + 1 - begin));
    begin = i + 2;
  }
  if (begin < paragraph.size()) sentences.emplace_back(paragraph.substr(begin));
  return sentences;
}

Status AddParagraph(const Tokenizer& tokenizer, const std::string& text, size_t max_length,
                    std::vector<TrainingExample>& examples) {
  constexpr size_t kLeast = 8;
  TRY(const Encoding e,
      tokenizer.Encode(text, {.add_special_tokens = false, .truncation = Truncation::kNone}));
  const TokenizerSpec& spec = tokenizer.spec();
  const size_t special = (spec.cls_id >= 0 ? 1 : 0) + (spec.sep_id >= 0 ? 1 : 0);
  const size_t room = max_length - special;
  for (size_t begin = 0; begin < e.ids.size(); begin += room) {
    const size_t end = std::min(begin + room, e.ids.size());
    if (end - begin < kLeast) break;
    TrainingExample example;
    if (spec.cls_id >= 0) example.ids.push_back(spec.cls_id);
    example.ids.insert(example.ids.end(), e.ids.begin() + static_cast<int64_t>(begin),
                       e.ids.begin() + static_cast<int64_t>(end));
    if (spec.sep_id >= 0) example.ids.push_back(spec.sep_id);
    example.type_ids.assign(example.ids.size(), 0);
    example.source = example.number = examples.size();
    example.key = ExampleKey(example.number);
    examples.push_back(std::move(example));
  }
  return {};
}

}  // namespace thimble::train
