#include "thimble/train/validation.h"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/runtime/predictor.h"

namespace thimble::train {
namespace {

constexpr size_t kBatchTokens = 4096;  // of texts that go through the runtime at once, about

// The label of each word is that of its first token.
std::vector<int32_t> WordLabels(const Example& row, const Prediction& p) {
  std::vector<int32_t> labels(row.words.size(), -1);
  uint32_t begin = 0;
  size_t token = 0;
  for (size_t w = 0; w < row.words.size(); ++w) {
    const auto end = static_cast<uint32_t>(begin + row.words[w].size());
    while (token < p.tokens.size() && p.tokens[token].range.end <= begin) ++token;
    if (token < p.tokens.size() && p.tokens[token].range.begin < end) {
      labels[w] = static_cast<int32_t>(p.tokens[token].best.label);
    }
    begin = end + 1;
  }
  return labels;
}

TaskOutput OutputOf(Task task, const Example& row, Prediction p) {
  TaskOutput out;
  out.scores = std::move(p.scores);
  if (task == Task::kTokenLabels) out.word_labels = WordLabels(row, p);
  if (p.answer.has_value()) {
    out.answer = row.pair->substr(p.answer->begin, p.answer->end - p.answer->begin);
    out.answer_score = p.answer->score;
  }
  return out;
}

}  // namespace

Result<Model> Packed(const Model& model) {
  TRY(const std::string file, SerializeThimble(model));
  const Tensor bytes =
      Tensor::Copy(DType::kU8, {static_cast<int64_t>(file.size())}, std::as_bytes(std::span(file)));
  return ParseThimble(bytes.data(), std::make_shared<Tensor>(bytes));
}

Result<std::vector<TaskOutput>> PredictDataset(const Model& model, const Dataset& data,
                                               int threads) {
  TRY(Predictor predictor, Predictor::Create(model, {.threads = threads}));
  std::vector<TaskOutput> outputs;
  outputs.reserve(data.examples.size());
  std::vector<PredictorInput> inputs;
  size_t bytes = 0;
  for (size_t i = 0; i < data.examples.size(); ++i) {
    const Example& row = data.examples[i];
    inputs.push_back({.text = row.text, .pair = row.pair});
    bytes += row.text.size() + (row.pair.has_value() ? row.pair->size() : 0);
    // A token has about four bytes.
    if (bytes < 4 * kBatchTokens && i + 1 < data.examples.size()) continue;
    TRY(std::vector<Prediction> predictions, predictor.Predict(inputs));
    for (Prediction& p : predictions) {
      outputs.push_back(OutputOf(model.task, data.examples[outputs.size()], std::move(p)));
    }
    inputs.clear();
    bytes = 0;
  }
  return outputs;
}

}  // namespace thimble::train
