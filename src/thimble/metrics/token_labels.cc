// A label per word: accuracy of words, and entities as seqeval counts them.
#include <algorithm>
#include <map>

#include "thimble/metrics/counts.h"
#include "thimble/metrics/entities.h"
#include "thimble/metrics/scorer.h"

namespace thimble {
namespace {

// What one sentence adds to the counts.
struct Sentence {
  uint32_t words = 0, right = 0;
  std::vector<std::pair<uint32_t, Counts>> types;  // of entities, by their index
};

bool HasPrefix(std::string_view label) {
  return label.size() > 1 && label[1] == '-' &&
         std::string_view("BIES").find(label[0]) != std::string_view::npos;
}

class TokenLabels : public Scorer {
 public:
  TokenLabels(std::vector<Sentence> sentences, std::vector<std::string> types, bool entities)
      : sentences_(std::move(sentences)), types_(std::move(types)), counts_(types_.size()) {
    entity_first_ = entities;
    names_ = entities ? std::vector<std::string>{"f1", "accuracy"}
                      : std::vector<std::string>{"accuracy", "f1"};
    names_.insert(names_.end(), {"precision", "recall", "macro_f1"});
  }

  void Score(std::span<const uint32_t> weights, std::span<double> values) override {
    double words = 0, right = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      words += static_cast<double>(weights[i]) * sentences_[i].words;
      right += static_cast<double>(weights[i]) * sentences_[i].right;
    }
    Count(weights, counts_);
    Counts all;
    double f1 = 0;
    size_t met = 0;
    for (const Counts& c : counts_) {
      all.Add(c);
      f1 += c.f1();
      met += c.gold + c.predicted > 0;
    }
    values[entity_first_ ? 0 : 1] = all.f1();
    values[entity_first_ ? 1 : 0] = Quotient(right, words);
    values[2] = all.precision();
    values[3] = all.recall();
    values[4] = Quotient(f1, static_cast<double>(met));
  }

  void Describe(TaskMetrics& out) const override {
    std::vector<Counts> counts(types_.size());
    Count(std::vector<uint32_t>(sentences_.size(), 1), counts);
    for (size_t i = 0; i < counts.size(); ++i) {
      out.per_label.push_back(
          {types_[i], counts[i].precision(), counts[i].recall(), counts[i].f1(), counts[i].gold});
    }
  }

 private:
  void Count(std::span<const uint32_t> weights, std::vector<Counts>& counts) const {
    std::fill(counts.begin(), counts.end(), Counts{});
    for (size_t i = 0; i < weights.size(); ++i) {
      for (const auto& [type, c] : sentences_[i].types) {
        counts[type].Add({c.right * weights[i], c.predicted * weights[i], c.gold * weights[i]});
      }
    }
  }

  std::vector<Sentence> sentences_;
  std::vector<std::string> types_;
  bool entity_first_ = false;
  std::vector<Counts> counts_;
};

// The names of a sentence's labels; -1 and labels that only the model knows are outside of everything.
std::vector<std::string_view> Names(const std::vector<int32_t>& labels, const Dataset& data) {
  std::vector<std::string_view> names;
  for (const int32_t label : labels) {
    const bool known = label >= 0 && static_cast<size_t>(label) < data.labels.size();
    names.push_back(known ? std::string_view(data.labels[static_cast<size_t>(label)]) : "O");
  }
  return names;
}

}  // namespace

ScorerOrError TokenLabelScorer(const Dataset& data, std::span<const TaskOutput> outputs) {
  std::vector<Sentence> sentences(outputs.size());
  std::map<std::string, std::map<size_t, Counts>> by_type;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<int32_t>& gold = data.examples[i].word_labels;
    const std::vector<int32_t>& predicted = outputs[i].word_labels;
    if (predicted.size() != gold.size()) {
      return BlameExample(data, i,
                          "has " + std::to_string(gold.size()) + " words and " +
                              std::to_string(predicted.size()) + " predicted labels");
    }
    sentences[i].words = static_cast<uint32_t>(gold.size());
    for (size_t w = 0; w < gold.size(); ++w) sentences[i].right += gold[w] == predicted[w];
    const std::vector<Entity> there = EntitiesOf(Names(gold, data));
    const std::vector<Entity> found = EntitiesOf(Names(predicted, data));
    for (const Entity& entity : there) ++by_type[entity.type][i].gold;
    for (const Entity& entity : found) {
      Counts& counts = by_type[entity.type][i];
      ++counts.predicted;
      counts.right += std::binary_search(there.begin(), there.end(), entity, [](auto& a, auto& b) {
        return a.begin != b.begin ? a.begin < b.begin : a < b;
      });
    }
  }
  std::vector<std::string> types;
  for (const auto& [type, counts] : by_type) {
    for (const auto& [sentence, c] : counts) {
      sentences[sentence].types.emplace_back(static_cast<uint32_t>(types.size()), c);
    }
    types.push_back(type);
  }
  const bool entities = std::any_of(data.labels.begin(), data.labels.end(), HasPrefix);
  return std::unique_ptr<Scorer>(
      std::make_unique<TokenLabels>(std::move(sentences), std::move(types), entities));
}

}  // namespace thimble
