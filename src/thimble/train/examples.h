// Rows of a data set as a model is trained on them: token ids and what is to be learned.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/dataset.h"
#include "thimble/graph/task.h"
#include "thimble/text/tokenizer.h"

namespace thimble::train {

struct TrainingExample {
  std::vector<int32_t> ids, type_ids;
  // kSingleLabel: one class; kMultiLabel: those that apply; kAnswers: first and last token of the answer,
  // {0, 0} where this window does not hold it; kTokenLabels: one per token, kIgnored for all but the first
  // token of each word.
  std::vector<int32_t> labels;
  std::vector<float> scores;  // soft labels, one per label; empty: none
  float value = 0;            // kRegression
  size_t source = 0;          // index of the row in its data set, or of the paragraph
  size_t number = 0;          // index among the examples
  uint32_t key = 0;           // names the example for random decisions, whatever batch it is in
};

inline constexpr int32_t kIgnored = -1;

struct EncodeForTrainingOptions {
  size_t max_length = 0;  // tokens; 0: the model's limit
  size_t answer_stride = 128;
};

struct TrainingData {
  std::vector<TrainingExample> examples;
  size_t truncated = 0;     // examples that lost tokens
  size_t lost_answers = 0;  // rows whose answer lies in no window
  size_t tokens = 0;
};

// One example per row; windows of a long context each become one.
Result<TrainingData> EncodeForTraining(const Dataset& data, Task task, const Tokenizer& tokenizer,
                                       const EncodeForTrainingOptions& options);

// The key of example `index`.
uint32_t ExampleKey(size_t index);

// A text or pair without labels.
Result<TrainingExample> EncodeText(const Tokenizer& tokenizer, const std::string& text,
                                   const std::optional<std::string>& pair, size_t max_length);

// The sentences of a paragraph: cut behind . ! ? and a blank; what is shorter than `least` bytes stays with
// what follows. A cheap cut for distillation, where a wrong one costs nothing.
std::vector<std::string> SplitSentences(std::string_view paragraph, size_t least = 20);

// Unlabelled text for masked language modelling: one paragraph as pieces of at most `max_length` tokens, special
// tokens included; a rest shorter than 8 tokens is left out.
Status AddParagraph(const Tokenizer& tokenizer, const std::string& text, size_t max_length,
                    std::vector<TrainingExample>& examples);

}  // namespace thimble::train
