#include "thimble/compress/calibration.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <span>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/base/random.h"
#include "thimble/data/plain_text.h"

namespace thimble::compress {
namespace {

bool HasLabels(Task task) {
  return task != Task::kFeatures && task != Task::kMaskedLm && task != Task::kPretraining;
}

bool IsPlainText(const std::string& path) {
  return path.ends_with(".txt") || path.ends_with(".txt.gz") ||
         std::filesystem::is_directory(path);
}

// Moves `count` random elements to the front and drops the rest.
template <class T>
void Draw(std::vector<T>& all, size_t count, uint64_t seed) {
  Random random(seed);
  random.Shuffle(std::span(all));
  if (count > 0 && count < all.size()) all.resize(count);
}

class Reader {
 public:
  Reader(const std::string& path, const Model& model, const CalibrationOptions& options)
      : path_(path), model_(model), options_(options) {
    const auto limit = static_cast<size_t>(model.graph.max_sequence_length);
    max_length_ = options.max_length == 0 ? limit : std::min(options.max_length, limit);
  }

  Result<Calibration> Run() && {
    TRY(const Tokenizer tokenizer, Tokenizer::Create(model_.tokenizer));
    const bool labelled = HasLabels(model_.task) && !IsPlainText(path_);
    if (options_.labelled && !labelled) {
      return InvalidData(path_ + ": it has no labels, and a loss is to be measured; give a data set of " +
                         std::string(TaskName(model_.task)));
    }
    TRY_VOID(labelled ? ReadRows(tokenizer) : ReadTexts(tokenizer));
    if (result_.examples.size() < options_.least_examples) {
      return InvalidData(path_ + ": " + std::to_string(result_.examples.size()) +
                         " examples are too few to calibrate with; give at least " +
                         std::to_string(options_.least_examples) + ", better 1000");
    }
    for (const train::TrainingExample& e : result_.examples) result_.tokens += e.ids.size();
    return std::move(result_);
  }

 private:
  Status ReadRows(const Tokenizer& tokenizer) {
    Result<Dataset> read = ReadDataset(path_, {.task = model_.task,
                                               .labels = model_.labels,
                                               .unknown_label = UnknownLabel::kAppend});
    if (!read) {
      return Error(read.error().code(),
                   read.error().message() + "; the model's task is " +
                       std::string(TaskName(model_.task)) + ", texts alone can come as .txt");
    }
    Dataset data = *std::move(read);
    if (data.labels.size() > data.known_labels) {
      return InvalidData(path_ + ": its label " + Quoted(data.labels[data.known_labels]) +
                         " is none of the model's, which has " + Names(model_.labels) +
                         "; give data of the model's task");
    }
    Draw(data.examples, options_.max_examples, options_.seed);
    TRY(train::TrainingData encoded, train::EncodeForTraining(data, model_.task, tokenizer,
                                                              {.max_length = max_length_}));
    result_.examples = std::move(encoded.examples);
    result_.truncated = encoded.truncated;
    result_.data = std::move(data);
    return {};
  }

  Status ReadTexts(const Tokenizer& tokenizer) {
    TRY(PlainText corpus, PlainText::Open({path_}));
    std::vector<std::string> texts;
    std::string line;
    for (;;) {
      TRY(const bool more, corpus.Next(line));
      if (!more) break;
      texts.push_back(line);
    }
    Draw(texts, options_.max_examples, options_.seed);
    for (const std::string& text : texts) {
      TRY(train::TrainingExample example,
          train::EncodeText(tokenizer, text, std::nullopt, max_length_));
      example.source = example.number = result_.examples.size();
      example.key = train::ExampleKey(example.number);
      result_.examples.push_back(std::move(example));
    }
    return {};
  }

  static std::string Names(const std::vector<std::string>& labels) {
    constexpr size_t kMost = 3;
    std::string names;
    for (size_t i = 0; i < std::min(labels.size(), kMost); ++i) {
      names += (i > 0 ? ", " : "") + Quoted(labels[i]);
    }
    return names + (labels.size() > kMost ? ", ..." : "");
  }

  const std::string& path_;
  const Model& model_;
  const CalibrationOptions& options_;
  size_t max_length_;
  Calibration result_;
};

}  // namespace

Result<Calibration> ReadCalibration(const std::string& path, const Model& model,
                                    const CalibrationOptions& options) {
  return Reader(path, model, options).Run();
}

}  // namespace thimble::compress
