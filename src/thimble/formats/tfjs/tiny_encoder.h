// For tests: a Universal Sentence Encoder Lite of a few numbers, written as it is published.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace thimble {

struct TinyEncoder {
  static constexpr int kVocabulary = 12, kEmbedding = 4, kHidden = 8, kIntermediate = 6, kHeads = 2,
                       kDepth = 2, kPositions = 5;

  TinyEncoder();

  std::string model_json() const;  // one file of weights, "weights.bin"
  std::string weights_bin() const;
  std::string vocab_json() const;

  // What the published graph computes for one text, written down a second time: from the stored
  // layouts, in double.
  std::vector<double> Embed(const std::vector<int>& ids) const;

  struct Weight {
    std::vector<int> shape;
    std::vector<float> values;
  };
  std::map<std::string, Weight> weights;
  // Operation kind and inputs by name; the tests change them.
  struct Node {
    std::string op, name;
    std::vector<std::string> inputs;
  };
  std::vector<Node> nodes;
};

}  // namespace thimble
