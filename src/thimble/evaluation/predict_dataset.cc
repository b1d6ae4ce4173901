#include "thimble/evaluation/predict_dataset.h"

#include <algorithm>
#include <span>
#include <string>

#include "thimble/base/clock.h"

namespace thimble {
namespace {

// Each word has the label of its first token; words without one (cut off, or nothing but characters that the
// tokenizer drops) have none.
std::vector<int32_t> WordLabels(const Example& example, const Prediction& prediction) {
  std::vector<int32_t> labels(example.words.size(), -1);
  size_t begin = 0;
  auto token = prediction.tokens.begin();
  for (size_t w = 0; w < labels.size(); ++w) {
    const size_t end = begin + example.words[w].size();
    while (token != prediction.tokens.end() && token->range.begin < begin) ++token;
    if (token != prediction.tokens.end() && token->range.begin < end) {
      labels[w] = static_cast<int32_t>(token->best.label);
    }
    begin = end + 1;  // one blank
  }
  return labels;
}

TaskOutput OutputOf(Task task, const Example& example, const Prediction& prediction) {
  TaskOutput output;
  output.scores = prediction.scores;
  if (task == Task::kTokenLabels) output.word_labels = WordLabels(example, prediction);
  if (task == Task::kAnswers) {
    output.no_answer_score = prediction.no_answer_logit.value_or(0);
    if (!prediction.answers.empty()) {
      const Answer* answer = &prediction.answers[0];
      output.answer = example.pair->substr(answer->begin, answer->end - answer->begin);
      output.answer_score = answer->logit;
    }
  }
  return output;
}

Error Blame(const Dataset& data, size_t first, size_t count, const Error& error) {
  std::string place = data.path + ": ";
  const int64_t line = data.examples[first].line;
  if (line != 0) {
    place += (count == 1 ? "line " : "near line ") + std::to_string(line) + ": ";
  }
  return InvalidData(place + error.message());
}

}  // namespace

Result<DatasetOutputs> PredictDataset(Predictor& predictor, Task task, const Dataset& data,
                                      size_t batch, const std::function<Status(size_t)>& progress) {
  DatasetOutputs run;
  run.outputs.reserve(data.examples.size());
  std::vector<PredictorInput> inputs;
  const auto start = Clock::now();
  for (size_t begin = 0; begin < data.examples.size(); begin += inputs.size()) {
    if (progress) TRY_VOID(progress(begin));
    inputs.clear();
    const size_t end = std::min(begin + batch, data.examples.size());
    for (size_t i = begin; i < end; ++i) {
      inputs.push_back({.text = data.examples[i].text, .pair = data.examples[i].pair});
    }
    Result<std::vector<Prediction>> predictions = predictor.Predict(inputs);
    if (!predictions.has_value()) return Blame(data, begin, end - begin, predictions.error());
    for (size_t i = begin; i < end; ++i) {
      const Prediction& prediction = (*predictions)[i - begin];
      run.truncated += prediction.truncated_tokens != 0;
      run.outputs.push_back(OutputOf(task, data.examples[i], prediction));
    }
  }
  run.seconds = SecondsSince(start);
  return run;
}

}  // namespace thimble
