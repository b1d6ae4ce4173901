#include "thimble/cli/training_data.h"

#include <optional>
#include <utility>

#include "thimble/cli/console.h"
#include "thimble/data/overlap.h"
#include "thimble/data/plain_text.h"

namespace thimble::cli {

using namespace thimble::train;  // NOLINT: the verbs are made of it

namespace {

void Say(const Dataset& data) {
  for (const std::string& line : data.report.Lines(data.path)) Note(line);
}

std::optional<Task> TaskOf(const TrainingCall& call) {
  return call.task.empty() ? std::nullopt : TaskFromName(call.task);
}

}  // namespace

Result<TrainingTexts> ReadTexts(const TrainingCall& call, const std::vector<std::string>& labels) {
  TrainingTexts data;
  TRY(data.train, ReadDataset(call.train, {.task = TaskOf(call),
                                           .labels = labels,
                                           .text_column = call.text_column,
                                           .label_column = call.label_column,
                                           .strict = call.strict}));
  Say(data.train);
  const auto read = [&](const std::string& path, UnknownLabel unknown) {
    return ReadDataset(path, {.task = data.train.task,
                              .labels = data.train.labels,
                              .unknown_label = unknown,
                              .text_column = call.text_column,
                              .label_column = call.label_column,
                              .strict = call.strict});
  };
  if (!call.valid.empty()) {
    TRY(data.valid, read(call.valid, UnknownLabel::kSkip));
    Say(data.valid);
    if (const auto words = OverlapWords(data.train, data.valid)) Note(*words);
  }
  if (!call.test.empty()) {
    TRY(data.test, read(call.test, UnknownLabel::kAppend));
    Say(data.test);
    if (const auto words = OverlapWords(data.train, data.test)) Note(*words);
  }
  return data;
}

Result<std::vector<TrainingExample>> EncodeRows(const TrainingTexts& data,
                                                const Tokenizer& tokenizer, size_t max_length) {
  TRY(TrainingData encoded,
      EncodeForTraining(data.train, data.train.task, tokenizer, {.max_length = max_length}));
  if (encoded.truncated > 0) {
    Note(std::to_string(encoded.truncated) + " of " + std::to_string(encoded.examples.size()) +
         " training texts are longer than --max-length " + std::to_string(max_length) +
         " and were cut");
  }
  if (encoded.lost_answers > 0) {
    Note(std::to_string(encoded.lost_answers) + " answers lie across windows and were not used");
  }
  return std::move(encoded.examples);
}

Result<std::vector<TrainingExample>> EncodeCorpus(const std::string& path, Task task,
                                                  const Tokenizer& tokenizer, size_t max_length,
                                                  TrainingTexts& data) {
  TRY(PlainText corpus, PlainText::Open({path}));
  std::vector<TrainingExample> examples;
  std::string line;
  for (;;) {
    TRY(const bool more, corpus.Next(line));
    if (!more) break;
    if (task == Task::kMaskedLm) {
      TRY_VOID(AddParagraph(tokenizer, line, max_length, examples));
      continue;
    }
    for (std::string& sentence : SplitSentences(line)) {
      TRY(TrainingExample example, EncodeText(tokenizer, sentence, std::nullopt, max_length));
      example.source = example.number = examples.size();
      example.key = ExampleKey(example.number);
      examples.push_back(std::move(example));
      data.corpus.push_back(std::move(sentence));
    }
  }
  if (corpus.invalid_lines() > 0) {
    Note(std::to_string(corpus.invalid_lines()) + " lines are not valid UTF-8 and were left out");
  }
  return examples;
}

}  // namespace thimble::cli
